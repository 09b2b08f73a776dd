#include "common/config/catalogue.h"

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::config {

namespace {
Setting text(std::string_view k, std::vector<std::string_view> env, std::string_view fallback,
             std::string_view description) {
  return {
      .key = k, .environment = std::move(env), .type = Type::Text, .fallback = fallback, .description = description};
}
Setting typed(Type type, std::string_view k, std::vector<std::string_view> env, std::string_view fallback,
              std::string_view description) {
  return {.key = k, .environment = std::move(env), .type = type, .fallback = fallback, .description = description};
}
Setting integer(std::string_view k, std::vector<std::string_view> env, std::string_view fallback, std::int64_t minimum,
                std::int64_t maximum, std::string_view description) {
  return {.key = k,
          .environment = std::move(env),
          .type = Type::Integer,
          .fallback = fallback,
          .minimum = minimum,
          .maximum = maximum,
          .description = description};
}
Setting choice(std::string_view k, std::vector<std::string_view> env, std::string_view fallback,
               std::vector<std::string_view> choices, std::string_view description) {
  return {.key = k,
          .environment = std::move(env),
          .type = Type::Choice,
          .fallback = fallback,
          .choices = std::move(choices),
          .description = description};
}
Setting secret(std::string_view k, std::vector<std::string_view> env, std::string_view required_when,
               std::string_view description, Type type = Type::Text) {
  return {.key = k,
          .environment = std::move(env),
          .type = type,
          .secret = true,
          .required_when = required_when,
          .description = description};
}
Setting reloadable(Setting setting) {
  setting.reloadable = true;
  return setting;
}

const std::vector<Setting>& table() {
  using namespace key;
  static const std::vector<Setting> settings = {
      choice(kEnvironment, {"ARAGORA_ENV", "ARAGORA_ENVIRONMENT"}, "development",
             {"development", "test", "staging", "production"},
             "What this deployment is for. production turns every requirement of the checklist into an error."),
      typed(Type::Address, kBindHost, {"ARAGORA_BIND_HOST"}, "127.0.0.1",
            "Address that serve listens on; server.listen takes several."),
      integer(kPort, {"ARAGORA_PORT"}, "8080", 0, 65535,
              "TCP port of HTTP, WebSocket and metrics; 0 lets the kernel choose."),
      typed(
          Type::Listen, kListen, {"ARAGORA_LISTEN"}, "",
          "Addresses that serve listens on, each host:port, [IPv6]:port or unix:/path of a local socket (mode 0660; a "
          "reverse proxy's user joins the group). TLS is spoken on those with a port when there is a certificate, "
          "unless http:// stands before them. Default: server.bind_host and server.port."),
      typed(Type::Listen, kMetricsListen, {"ARAGORA_METRICS_LISTEN"}, "",
            "Addresses of /metrics, written as those of server.listen; it is then found nowhere else."),
      typed(Type::Listen, kRedirectListen, {"ARAGORA_REDIRECT_LISTEN"}, "",
            "Addresses, such as 0.0.0.0:80, that send browsers to https; for hosts of the certificate, of "
            "server.allowed_origins and of server.public_url."),
      typed(Type::Url, kPublicUrl, {"ARAGORA_BASE_URL"}, "", "The URL under which clients reach this deployment."),
      typed(
          Type::UrlPath, kBasePath, {"ARAGORA_BASE_PATH"}, "",
          "Path below which everything is served, such as /aragora, when a proxy shares a host among several services "
          "and hands the path on; elsewhere nothing answers but health and readiness. Empty: at the root."),
      typed(Type::Path, kStateDirectory, {"ARAGORA_STATE_DIR"}, "",
            "Where the embedded database and generated secrets live. Default: $STATE_DIRECTORY, /var/lib/aragora for "
            "root and its owner, else ~/.local/state/aragora."),
      integer(kWorkers, {"ARAGORA_WORKERS"}, "48", 1, 64, "Worker threads for requests that touch the database."),
      integer(kQueueLimit, {"ARAGORA_QUEUE_LIMIT"}, "4096", 1, 100000,
              "Requests that may wait for a worker, a bound on memory; more are answered 503 with Retry-After."),
      integer(kQueueMs, {"ARAGORA_QUEUE_MS"}, "1000", 10, 60000,
              "How long a request may wait for a worker; then it is answered 503 with Retry-After, and later ones are "
              "served."),
      integer(kDrainSeconds, {"ARAGORA_DRAIN_SECONDS"}, "20", 0, 600,
              "How long a stopping daemon finishes requests before it closes them."),
      integer(kMaxConnections, {"ARAGORA_MAX_CONNECTIONS"}, "12000", 16, 1000000,
              "Open client connections, WebSockets included; fewer when the limit of open files is lower. When all are "
              "taken, those that have been idle for longest make room."),
      integer(kConnectionsPerAddress, {"ARAGORA_CONNECTIONS_PER_ADDRESS"}, "2000", 0, 1000000,
              "Open connections of one address (a /64 for IPv6), and at most half of all; 0 is no limit. Trusted "
              "proxies are not held to it; a sixteenth stays free of any one address."),
      integer(kSocketsPerAddress, {"ARAGORA_SOCKETS_PER_ADDRESS"}, "100", 0, 1000000,
              "Open WebSockets of one client address (a /64 for IPv6); 0 is no limit."),
      integer(kSocketsPerAccount, {"ARAGORA_SOCKETS_PER_ACCOUNT"}, "100", 0, 1000000,
              "Open WebSockets of one user; 0 is no limit."),
      integer(kMessageRate, {"ARAGORA_SOCKET_MESSAGE_RATE"}, "600", 0, 1000000,
              "Messages a minute from one WebSocket client; 0 is no limit."),
      reloadable(
          typed(Type::Origins, kAllowedOrigins, {"ARAGORA_ALLOWED_ORIGINS"}, "",
                "Browser origins that may call the API, exact matches. Empty allows loopback origins in development.")),
      reloadable(typed(Type::Networks, kTrustedProxies, {"ARAGORA_TRUSTED_PROXIES"}, "127.0.0.1,::1",
                       "Addresses or CIDR blocks whose X-Forwarded-For and X-Forwarded-Proto are believed.")),
      typed(Type::Flag, kBehindProxy, {"ARAGORA_BEHIND_PROXY"}, "false",
            "A proxy in front of this daemon terminates TLS."),
      reloadable(typed(
          Type::Path, kTlsCertificate, {"ARAGORA_TLS_CERT_PATH", "ARAGORA_TLS_CERT", "ARAGORA_SSL_CERT"}, "",
          "PEM certificate of this host and those that signed it, in this order. With it and its key serve speaks TLS "
          "1.2 and 1.3.")),
      reloadable(typed(Type::Path, kTlsKey, {"ARAGORA_TLS_KEY_PATH", "ARAGORA_TLS_KEY", "ARAGORA_SSL_KEY"}, "",
                       "PEM private key of that certificate, without a passphrase.")),
      reloadable(
          integer(kRateLimit, {"ARAGORA_IP_RATE_LIMIT"}, "120", 0, 1000000,
                  "Requests a minute for one client address (a /64 for IPv6), over all instances; 0 turns limiting "
                  "off, but for failed logins.")),
      reloadable(integer(kAccountRate, {"ARAGORA_ACCOUNT_RATE_LIMIT"}, "0", 0, 1000000,
                         "Requests a minute for one account or API key, over all addresses; 0 is as many as for one "
                         "address.")),
      reloadable(integer(kDebateRate, {"ARAGORA_DEBATE_RATE_LIMIT"}, "0", 0, 1000000,
                         "Debates a minute that one account or API key may create; 0 is a quarter of "
                         "server.rate_limit.")),
      reloadable(integer(kReportRate, {"ARAGORA_REPORT_RATE_LIMIT"}, "0", 0, 1000000,
                         "Searches and other looks at all debates a minute for one account or API key; 0 is a twelfth "
                         "of server.rate_limit.")),
      reloadable(integer(kHandshakeRate, {"ARAGORA_HANDSHAKE_RATE_LIMIT"}, "0", 0, 1000000,
                         "WebSockets a minute that one client address may open; 0 is half of server.rate_limit.")),
      reloadable(integer(kRefreshRate, {"ARAGORA_REFRESH_RATE_LIMIT"}, "0", 0, 1000000,
                         "Refreshes of tokens a minute from one client address; 0 is a quarter of "
                         "server.rate_limit.")),
      reloadable(choice(kLogLevel, {"ARAGORA_LOG_LEVEL"}, "info", {"debug", "info", "warning", "error"},
                        "Least important level that is logged.")),
      reloadable(choice(kLogFormat, {"ARAGORA_LOG_FORMAT"}, "text", {"text", "json"},
                        "One line of text or one JSON object an event.")),
      reloadable(typed(Type::Flag, kLogAccess, {"ARAGORA_LOG_ACCESS"}, "true",
                       "A line for each request, of level info: method, route, status, bytes, duration, client, id.")),
      reloadable(
          secret(kMetricsToken, {"ARAGORA_METRICS_TOKEN"}, "",
                 "Bearer token for GET /metrics. Without one only loopback addresses may read metrics in production.")),
      secret(kDatabaseUrl, {"DATABASE_URL", "ARAGORA_POSTGRES_DSN"}, "production, or database.required",
             "PostgreSQL connection URL, or libpq's keywords (host=… dbname=…). Without one the embedded SQLite "
             "database is "
             "used.",
             Type::Url),
      typed(Type::Flag, kDatabaseRequired, {"ARAGORA_REQUIRE_DATABASE"}, "false", "Refuse to fall back to SQLite."),
      integer(kDatabasePool, {"ARAGORA_DB_POOL_SIZE"}, "8", 1, 200,
              "PostgreSQL connections of one instance, or SQLite readers."),
      integer(kAcquireMs, {"ARAGORA_DB_ACQUIRE_TIMEOUT_MS"}, "2000", 10, 60000,
              "How long a request waits for a database connection."),
      integer(kConnectMs, {"ARAGORA_DB_CONNECT_TIMEOUT_MS"}, "4000", 100, 60000,
              "How long opening a database connection may take."),
      integer(kStatementMs, {"ARAGORA_DB_STATEMENT_TIMEOUT_MS"}, "10000", 100, 600000,
              "How long one statement of a request may run."),
      typed(Type::Path, kSqlitePath, {"ARAGORA_SQLITE_PATH"}, "",
            "The embedded database. Default: aragora.db in the state directory."),
      secret(kRedisUrl, {"REDIS_URL", "ARAGORA_REDIS_URL"}, "shared state is required (several instances)",
             "Redis for events, limits and lists of several instances: redis://[user:password@]host:port/db, rediss:// "
             "(TLS), "
             "unix:/path?db=0.",
             Type::Url),
      typed(Type::Flag, kMultiInstance, {"ARAGORA_MULTI_INSTANCE"}, "false", "Several daemons share this database."),
      typed(Type::Flag, kSingleInstance, {"ARAGORA_SINGLE_INSTANCE"}, "false",
            "Production on one machine: shared state is not required."),
      typed(Type::Flag, kRequireDistributed, {"ARAGORA_REQUIRE_DISTRIBUTED", "ARAGORA_REQUIRE_DISTRIBUTED_STATE"},
            "false", "Require Redis whatever the environment."),
      integer(kInstanceCount, {"ARAGORA_INSTANCE_COUNT"}, "1", 1, 1000,
              "Daemons that share the database; pool sizes are checked against max_connections with it."),
      reloadable(secret(kJwtSecret, {"JWT_SECRET", "ARAGORA_JWT_SECRET"}, "production",
                        "Signs access tokens; 32 characters or more, at least 128 bits.")),
      reloadable(secret(kJwtPrevious, {"JWT_SECRET_PREVIOUS", "ARAGORA_JWT_SECRET_PREVIOUS"}, "",
                        "The secret before a change: what it signed is good until it expires. Leave it out after "
                        "auth.access_token_hours.")),
      reloadable(secret(
          kApiToken, {"ARAGORA_API_TOKEN"}, "",
          "Bearer token for programs. But in development on a loopback address nothing except health answers without "
          "it or an access token (aragora-user).")),
      integer(kAccessHours, {"ARAGORA_JWT_EXPIRY_HOURS"}, "24", 1, 168, "Lifetime of an access token."),
      integer(kRefreshDays, {"ARAGORA_REFRESH_TOKEN_EXPIRY_DAYS"}, "30", 1, 90, "Lifetime of a refresh token."),
      integer(
          kLoginRate, {"ARAGORA_LOGIN_RATE_LIMIT"}, "5", 0, 10000,
          "Failed logins a minute from one address, and for one account from it; 0 is no limit. Over all addresses an "
          "account takes 20 times as many. A right password from where it was used before is taken all the same, until "
          "that network failed six times as often within an hour."),
      typed(Type::Flag, kRegistration, {"ARAGORA_REGISTRATION"}, "",
            "Whether anybody may make an account, as a member. Default: yes, but not in production."),
      integer(kDebatesPerDay, {"ARAGORA_DEBATES_PER_DAY"}, "0", 0, 1000000,
              "Debates that one account may create within 24 hours, administrators excepted; 0 is no limit."),
      integer(kDebatesAtOnce, {"ARAGORA_DEBATES_AT_ONCE"}, "0", 0, 1000000,
              "Debates of one account that may run or wait at once, administrators excepted; 0 is no limit."),
      secret(kEncryptionKey, {"ARAGORA_ENCRYPTION_KEY"}, "production",
             "AES-256 key: exactly 64 hex digits. Also protects backups: keep a copy elsewhere."),
      secret(kPreviousKeys, {"ARAGORA_ENCRYPTION_PREVIOUS_KEYS"}, "",
             "Earlier encryption keys, comma separated; they open old data and never seal."),
      text(kKeyRotatedAt, {"ARAGORA_ENCRYPTION_KEY_ROTATED_AT"}, "",
           "Date (YYYY-MM-DD) on which the encryption key was last changed."),
      integer(kKeyRotationDays, {"ARAGORA_ENCRYPTION_ROTATION_DAYS"}, "365", 1, 3650,
              "Age at which validate-env asks for a new encryption key."),
      reloadable(secret(kAnthropicKey, {"ANTHROPIC_API_KEY"}, "production, unless another provider is configured",
                        "Anthropic API key.")),
      reloadable(secret(kOpenAiKey, {"OPENAI_API_KEY"}, "production, unless another provider is configured",
                        "OpenAI API key, or the key of a compatible server.")),
      reloadable(secret(kOpenRouterKey, {"OPENROUTER_API_KEY"}, "", "OpenRouter API key, recommended as a fallback.")),
      typed(Type::Url, kOpenAiBaseUrl, {"OPENAI_BASE_URL"}, "https://api.openai.com/v1",
            "Base URL of the OpenAI-compatible API, /v1 included."),
      text(kOpenAiModel, {"ARAGORA_OPENAI_MODEL"}, "gpt-6-luna", "Model asked of the OpenAI-compatible API."),
      typed(Type::Url, kAnthropicBaseUrl, {"ANTHROPIC_BASE_URL"}, "https://api.anthropic.com",
            "Base URL of Anthropic's API, without /v1."),
      text(kAnthropicModel, {"ARAGORA_ANTHROPIC_MODEL"}, "claude-sonnet-5-5", "Model asked of Anthropic's API."),
      typed(Type::Url, kOpenRouterBaseUrl, {"OPENROUTER_BASE_URL"}, "https://openrouter.ai/api/v1",
            "Base URL of OpenRouter's API, /api/v1 included."),
      text(kOpenRouterModel, {"ARAGORA_OPENROUTER_MODEL"}, "openrouter/auto",
           "Model asked of OpenRouter by an agent that names none."),
      reloadable(secret(kGeminiKey, {"GEMINI_API_KEY", "GOOGLE_API_KEY"}, "", "Google Gemini API key.")),
      typed(Type::Url, kGeminiBaseUrl, {"GEMINI_BASE_URL"}, "https://generativelanguage.googleapis.com/v1beta/openai",
            "Base URL of Gemini's OpenAI-compatible API."),
      text(kGeminiModel, {"ARAGORA_GEMINI_MODEL"}, "gemini-2.5-flash", "Model asked of Gemini."),
      typed(Type::Url, kLocalBaseUrl, {"ARAGORA_LOCAL_BASE_URL"}, "",
            "Base URL of an OpenAI-compatible server of one's own (vLLM, llama.cpp, Ollama, LM Studio), such as "
            "http://127.0.0.1:11434/v1; its agents are local and local:MODEL."),
      reloadable(secret(kLocalKey, {"ARAGORA_LOCAL_API_KEY"}, "", "Key of that server, if it wants one.")),
      text(kLocalModel, {"ARAGORA_LOCAL_MODEL"}, "", "Model asked of that server by an agent that names none."),
      reloadable(secret(kAnthropicToken, {"ANTHROPIC_AUTH_TOKEN"}, "",
                        "Bearer token for Anthropic's API or a gateway to it, instead of the API key.")),
      choice(kAnthropicVersion, {"ARAGORA_ANTHROPIC_VERSION"}, "2026-10-21", {"2023-06-01", "2026-10-21"},
             "Version of Anthropic's API that is spoken; what is asked is taken by each."),
      secret(kAnthropicHeaders, {"ANTHROPIC_CUSTOM_HEADERS"}, "",
             "Further headers for Anthropic's API or a gateway to it: one Name: value a line."),
      secret(kOpenAiHeaders, {"OPENAI_CUSTOM_HEADERS"}, "",
             "Further headers for the OpenAI-compatible API: one Name: value a line."),
      text(kOpenAiOrganization, {"OPENAI_ORG_ID"}, "", "OpenAI organization that is billed."),
      text(kOpenAiProject, {"OPENAI_PROJECT_ID"}, "", "OpenAI project that is billed."),
      text(kOpenRouterReferer, {"OPENROUTER_HTTP_REFERER"}, "",
           "Site that OpenRouter's statistics name as the caller."),
      text(kOpenRouterTitle, {"OPENROUTER_APP_TITLE"}, "Aragora", "Title under which it is named there."),
      choice(kOpenRouterDataCollection, {"ARAGORA_OPENROUTER_DATA_COLLECTION"}, "allow", {"allow", "deny"},
             "Whether OpenRouter may pass questions on to those who keep them; deny leaves fewer to answer."),
      typed(Type::Flag, kPlainHttp, {"ARAGORA_PLAIN_HTTP_PROVIDERS"}, "false",
            "Whether providers may be asked over http:// on other machines, where keys and questions can be read on "
            "the way."),
      integer(kMaxOutputTokens, {"ARAGORA_MAX_OUTPUT_TOKENS"}, "8192", 256, 128'000,
              "Most tokens of one answer, where the API wants a number; thinking counts."),
      typed(Type::Flag, kDemo, {"ARAGORA_DEMO"}, "",
            "Whether demo agents answer. Default: on, but off in production; there they answer only who names them."),
      integer(kCallTimeout, {"ARAGORA_CALL_TIMEOUT_SECONDS"}, "120", 1, 600,
              "Deadline of one provider call, its tries and the pauses between them included."),
      integer(kConnectTimeout, {"ARAGORA_CONNECT_TIMEOUT_SECONDS"}, "5", 1, 60,
              "How long a connection to a provider may take: name, TCP and TLS together."),
      integer(
          kFirstByteTimeout, {"ARAGORA_FIRST_BYTE_TIMEOUT_SECONDS"}, "45", 1, 600,
          "How long a provider may take to begin an answer that it streams; one in one piece has until the deadline."),
      integer(kIdleTimeout, {"ARAGORA_IDLE_TIMEOUT_SECONDS"}, "30", 1, 600,
              "How long a provider may be silent within an answer."),
      integer(kCallsAtOnce, {"ARAGORA_CALLS_AT_ONCE"}, "5000", 1, 100'000,
              "Most calls to one provider at once, from this instance; further ones wait for their turn within their "
              "deadline. Whoever sets few sets few debates.max_concurrent as well."),
      integer(kCallRetries, {"ARAGORA_CALL_RETRIES"}, "2", 0, 10,
              "Tries of a provider call after the first, as long as nothing of the answer was shown."),
      integer(kBreakerFailures, {"ARAGORA_BREAKER_FAILURES"}, "3", 1, 1000,
              "Failed tries within the window after which a provider is not asked for a while."),
      integer(kBreakerWindow, {"ARAGORA_BREAKER_WINDOW_SECONDS"}, "60", 1, 3600,
              "The window of a circuit breaker, and how long it stays open the first time."),
      integer(kOpenRouterBreakerFailures, {"ARAGORA_OPENROUTER_BREAKER_FAILURES"}, "5", 1, 1000,
              "The same for OpenRouter, which has many vendors behind it: failed tries."),
      integer(kOpenRouterBreakerWindow, {"ARAGORA_OPENROUTER_BREAKER_WINDOW_SECONDS"}, "120", 1, 3600,
              "The same for OpenRouter: the window."),
      integer(kBreakerLongest, {"ARAGORA_BREAKER_LONGEST_SECONDS"}, "600", 1, 86400,
              "How long a circuit stays open at most; it doubles from the window each time a probe fails."),
      integer(
          kBreakerPercent, {"ARAGORA_BREAKER_LEAST_FAILURE_PERCENT"}, "0", 0, 100,
          "Share of the calls in the window that must have failed, besides, before a circuit opens; for servers with "
          "thousands of calls a minute."),
      typed(
          Type::Flag, kFallback, {"ARAGORA_OPENROUTER_FALLBACK_ENABLED"}, "",
          "Whether OpenRouter is asked for a model of the same family when its own vendor cannot answer. Default: yes "
          "where OpenRouter's key is set, but not for a vendor whose base URL is set: what goes to a server of one's "
          "own goes nowhere else unasked."),
      typed(Type::List, kFallbackModels, {"ARAGORA_FALLBACK_MODELS"}, "",
            "What OpenRouter is asked for instead, each: MODEL=VENDOR/NAME. Other models go by their own name there."),
      typed(Type::Path, kModelsFile, {"ARAGORA_MODELS_FILE"}, "",
            "Prices, limits and abilities of models that go before those built in (aragora-models(5)). Default: "
            "/etc/aragora/models.toml, when there is one."),
      typed(Type::List, kModelsAllowed, {"ARAGORA_MODELS_ALLOWED"}, "",
            "Models that members may ask, each MODEL or PROVIDER:MODEL, with * at the end for all that begin so; "
            "administrators may ask any. Default: all."),
      reloadable(typed(Type::List, kDefaultAgents, {"ARAGORA_DEFAULT_AGENTS"}, "",
                       "Agents of a debate that names none. Default: three of the providers whose keys are set; "
                       "demo agents where there is no key, not in production.")),
      integer(kMaxConcurrent, {"ARAGORA_MAX_CONCURRENT_DEBATES"}, "100", 1, 10000,
              "Debates that run at once; more wait in the queue."),
      integer(
          kMaxRounds, {"ARAGORA_MAX_ROUNDS"}, "5", 1, 20,
          "Most rounds of a debate; one that asks for more is given these. More rounds before the vote cost more than "
          "they help."),
      integer(kDebateDeadline, {"ARAGORA_DEBATE_DEADLINE_SECONDS"}, "600", 5, 86400,
              "A debate that runs longer ends with what it has."),
      reloadable(text(kDebateBudget, {"ARAGORA_DEBATE_BUDGET_USD"}, "",
                      "What the calls of one debate may cost at most, in US dollars, such as 0.50; a request may ask "
                      "for less. Default: no cap.")),
      reloadable(text(kAccountBudget, {"ARAGORA_ACCOUNT_DAILY_BUDGET_USD"}, "",
                      "What the debates of one account may cost on one day of UTC. Default: no cap.")),
      reloadable(text(kDailyBudget, {"ARAGORA_DAILY_BUDGET_USD"}, "",
                      "What all debates may cost on one day of UTC, over all instances. Default: no cap.")),
      typed(Type::List, kChatProfiles, {"ARAGORA_CHAT_PROFILES"}, "",
            "What POST /v1/chat/completions offers as the models aragora/NAME, besides aragora/default: each as NAME "
            "AGENT+AGENT rounds=N consensus=KIND, what is left out as the deployment says."),
      typed(Type::Flag, kChatCancels, {"ARAGORA_CHAT_CANCEL_WHEN_GONE"}, "true",
            "Whether a debate that was asked for over the chat API is cancelled when its client leaves."),
      typed(Type::List, kAcknowledged, {"ARAGORA_ACKNOWLEDGED"}, "",
            "Warnings of validate-env that somebody answers for, each: CHECK YYYY-MM-DD reason (without commas)."),
      typed(Type::Path, kBackupDirectory, {"ARAGORA_BACKUP_DIR"}, "",
            "Where backups are kept. Default: backups in the state directory."),
      integer(kBackupRetentionDays, {"ARAGORA_BACKUP_RETENTION_DAYS"}, "30", 1, 3650,
              "Age at which prune may remove a full backup."),
      integer(kBackupLogDays, {"ARAGORA_BACKUP_LOG_RETENTION_DAYS"}, "7", 1, 3650,
              "How far back recovery to a moment reaches: base backups and log before that are pruned."),
      integer(kBackupEveryHours, {"ARAGORA_BACKUP_EVERY_HOURS"}, "24", 1, 8760,
              "Schedule that validate-env holds the newest backup against."),
      typed(Type::List, kBackupRecipients, {"ARAGORA_BACKUP_RECIPIENTS"}, "",
            "Further age recipients (age1…), such as an offline recovery key."),
      integer(kBackupCompression, {"ARAGORA_BACKUP_COMPRESSION_LEVEL"}, "1", 1, 19, "zstd level of backups."),
      typed(
          Type::Flag, kBackupContinuous, {"ARAGORA_BACKUP_CONTINUOUS"}, "false",
          "The daemon makes full backups on schedule and, for SQLite, an increment after every interval with changes."),
      integer(kBackupInterval, {"ARAGORA_BACKUP_INTERVAL_SECONDS"}, "60", 1, 86400,
              "Seconds between two increments: at most so much of a SQLite database is lost."),
      integer(kConfigurationDays, {"ARAGORA_CONFIGURATION_RETENTION_DAYS"}, "365", 1, 3650,
              "Age at which prune may remove a version of the configuration."),
      integer(kArtifactsEveryHours, {"ARAGORA_ARTIFACTS_EVERY_HOURS"}, "168", 1, 8760,
              "Schedule of the debate artifacts: every finished debate as a line of JSON."),
      integer(kArtifactsDays, {"ARAGORA_ARTIFACTS_RETENTION_DAYS"}, "90", 1, 3650,
              "Age at which prune may remove debate artifacts."),
      choice(
          kSlotGuard, {"ARAGORA_SLOT_GUARD"}, "undecided", {"undecided", "keep-production", "keep-log"},
          "What a replication slot whose receiver is gone may cost: keep-production expects max_slot_wal_keep_size on "
          "the server (the log is lost first), keep-log expects none (the disk fills first)."),
      typed(
          Type::Flag, kBackupProviderKeys, {"ARAGORA_BACKUP_PROVIDER_KEYS"}, "true",
          "Whether a backup of the configuration holds the keys of providers. false where backups have a user of their "
          "own, who is not to know them."),
      secret(kBackupWriterKey, {"ARAGORA_BACKUP_WRITER_KEY"}, "",
             "Instead of the encryption key on a machine that makes backups and must not be able to read them: what "
             "aragora key backup-writer prints."),
      text(kOffsite, {"ARAGORA_OFFSITE"}, "",
           "Copy of the backups elsewhere: s3://bucket/prefix, or an absolute path of a mounted directory."),
      typed(Type::Url, kOffsiteEndpoint, {"ARAGORA_OFFSITE_ENDPOINT"}, "",
            "S3-compatible store, such as https://s3.example.net. Default: Amazon's, in the region."),
      text(kOffsiteRegion, {"ARAGORA_OFFSITE_REGION", "AWS_REGION"}, "us-east-1",
           "Region that requests are signed for."),
      text(kOffsiteAccessKey, {"ARAGORA_OFFSITE_ACCESS_KEY", "AWS_ACCESS_KEY_ID"}, "",
           "Name of the key for the store."),
      secret(kOffsiteSecretKey, {"ARAGORA_OFFSITE_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"}, "",
             "The key that signs requests to the store."),
      integer(kOffsiteLockDays, {"ARAGORA_OFFSITE_LOCK_DAYS"}, "0", 0, 3650,
              "Object lock (governance mode) of everything written to the store; 0 leaves it to the bucket."),
      integer(
          kSealInterval, {"ARAGORA_SEAL_INTERVAL_SECONDS"}, "30", 1, 3600,
          "How often the log that came in is sealed and copied elsewhere: at most so much is lost with this machine."),
      integer(kRtoMinutes, {"ARAGORA_RTO_MINUTES"}, "60", 1, 10080,
              "Objective of drills: from the loss to a daemon that is ready."),
      integer(kRpoMinutes, {"ARAGORA_RPO_MINUTES"}, "5", 1, 10080, "Objective of drills: how much may be lost."),
      reloadable(
          secret(kWebhookUrl, {"ARAGORA_NOTIFY_WEBHOOK_URL"}, "",
                 "Where failures are posted as JSON, signed with notify.webhook_key. A secret, as such addresses often "
                 "are all it takes to write there.",
                 Type::Url)),
      reloadable(secret(kWebhookKey, {"ARAGORA_NOTIFY_WEBHOOK_KEY"}, "notify.webhook_url is set",
                        "Signs what is posted: 32 characters or more, or whsec_ and base 64.")),
      reloadable(
          typed(Type::List, kEmailTo, {"ARAGORA_NOTIFY_EMAIL_TO"}, "", "Addresses that failures are mailed to.")),
      reloadable(text(kEmailFrom, {"ARAGORA_NOTIFY_EMAIL_FROM"}, "",
                      "Whom these mails come from. Default: aragora@ this host.")),
      reloadable(text(kSmtpHost, {"ARAGORA_NOTIFY_SMTP_HOST"}, "localhost", "The mail server that takes them.")),
      reloadable(integer(kSmtpPort, {"ARAGORA_NOTIFY_SMTP_PORT"}, "0", 0, 65535,
                         "Its port; 0 is what notify.smtp_tls usually has: 587, 465 or 25.")),
      reloadable(choice(
          kSmtpTls, {"ARAGORA_NOTIFY_SMTP_TLS"}, "starttls", {"starttls", "tls", "none"},
          "starttls turns a connection in clear into TLS or sends nothing, tls begins with it, none is for a server "
          "on this machine.")),
      reloadable(text(kSmtpUser, {"ARAGORA_NOTIFY_SMTP_USER"}, "", "Who logs in there; nobody when it is empty.")),
      reloadable(secret(kSmtpPassword, {"ARAGORA_NOTIFY_SMTP_PASSWORD"}, "notify.smtp_user is set",
                        "The password of that user.")),
      reloadable(secret(
          kBackupPing, {"ARAGORA_NOTIFY_BACKUP_PING_URL"}, "",
          "Dead-man switch of backups, as healthchecks.io has them: asked at this address when backup create has "
          "done its work, with /start behind it when it begins and with /fail when it or backup verify failed.",
          Type::Url)),
      reloadable(secret(kDrillPing, {"ARAGORA_NOTIFY_DRILL_PING_URL"}, "", "The same for drills.", Type::Url)),
      reloadable(integer(kNotifyInterval, {"ARAGORA_NOTIFY_INTERVAL_SECONDS"}, "60", 1, 3600,
                         "How often the daemon looks for what somebody has to be told of.")),
      reloadable(integer(kRemindHours, {"ARAGORA_NOTIFY_REMIND_HOURS"}, "24", 1, 720,
                         "What lasts is told again after so many hours.")),
  };
  return settings;
}
}  // namespace

std::span<const Setting> catalogue() { return table(); }

std::string_view currentKey(std::string_view k) {
  static const std::map<std::string_view, std::string_view> renamed = {{"server.tls_certificate", key::kTlsCertificate},
                                                                       {"server.tls_key", key::kTlsKey}};
  const auto found = renamed.find(k);
  return found == renamed.end() ? k : found->second;
}

const Setting* findSetting(std::string_view k) {
  k = currentKey(k);
  for (const auto& setting : table()) {
    if (setting.key == k) return &setting;
  }
  return nullptr;
}

bool ofProviders(const Setting& setting) { return setting.key.substr(0, setting.key.find('.')) == "providers"; }

const Setting* findByEnvironment(std::string_view name) {
  for (const auto& setting : table()) {
    for (const auto candidate : setting.environment) {
      if (candidate == name) return &setting;
    }
  }
  return nullptr;
}

const std::vector<std::string>& environmentNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result = {"ARAGORA_CONFIG", "ARAGORA_KEY", "ARAGORA_SECRETS", "ARAGORA_VERIFY_KEY"};
    for (const auto& setting : table()) {
      for (const auto name : setting.environment) {
        result.emplace_back(name);
        if (setting.secret) {
          result.push_back(std::string(name) + "_FILE");
          result.push_back(std::string(name) + "_COMMAND");
        }
      }
    }
    return result;
  }();
  return names;
}

}  // namespace aragora::config
