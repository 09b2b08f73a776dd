// The one table of settings. It drives the loader, validate-env, `config show`, the example file and the man page
// aragora.toml(5); a test fails when any of them drifts. Static, immutable, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aragora::config {

enum class Type { Text, Integer, Flag, Choice, List, Path, Url, UrlPath, Address, Listen, Networks, Origins };

struct Setting {
  std::string_view key;                       // TOML: section.name
  std::vector<std::string_view> environment;  // first name is the canonical one, the others are aliases
  Type type = Type::Text;
  std::string_view fallback;  // as text; empty means unset
  std::int64_t minimum = 0;   // Integer only
  std::int64_t maximum = 0;
  std::vector<std::string_view> choices;  // Choice only
  bool secret = false;
  bool reloadable = false;  // SIGHUP applies it
  std::string_view required_when;
  std::string_view description;
};

std::span<const Setting> catalogue();
// Today's name of a key that was called otherwise; any other as it is.
std::string_view currentKey(std::string_view key);
// Whether it is one of those with which a provider is asked.
bool ofProviders(const Setting& setting);
// nullptr when there is none; by today's name or an earlier one.
const Setting* findSetting(std::string_view key);
const Setting* findByEnvironment(std::string_view name);
// Every environment name the product reads, including NAME_FILE and NAME_COMMAND of secrets.
const std::vector<std::string>& environmentNames();

// Keys as constants, so that a misspelt one does not compile.
namespace key {
inline constexpr std::string_view kEnvironment = "environment";
inline constexpr std::string_view kBindHost = "server.bind_host";
inline constexpr std::string_view kPort = "server.port";
inline constexpr std::string_view kListen = "server.listen";
inline constexpr std::string_view kMetricsListen = "server.metrics_listen";
inline constexpr std::string_view kRedirectListen = "server.redirect_listen";
inline constexpr std::string_view kPublicUrl = "server.public_url";
inline constexpr std::string_view kBasePath = "server.base_path";
inline constexpr std::string_view kStateDirectory = "server.state_directory";
inline constexpr std::string_view kWorkers = "server.workers";
inline constexpr std::string_view kQueueLimit = "server.queue_limit";
inline constexpr std::string_view kDrainSeconds = "server.drain_seconds";
inline constexpr std::string_view kMaxConnections = "server.max_connections";
inline constexpr std::string_view kConnectionsPerAddress = "server.connections_per_address";
inline constexpr std::string_view kQueueMs = "server.queue_ms";
inline constexpr std::string_view kSocketsPerAddress = "server.sockets_per_address";
inline constexpr std::string_view kSocketsPerAccount = "server.sockets_per_account";
inline constexpr std::string_view kMessageRate = "server.socket_messages_per_minute";
inline constexpr std::string_view kAllowedOrigins = "server.allowed_origins";
inline constexpr std::string_view kTrustedProxies = "server.trusted_proxies";
inline constexpr std::string_view kBehindProxy = "server.behind_proxy";
inline constexpr std::string_view kTlsCertificate = "server.tls.certificate";
inline constexpr std::string_view kTlsKey = "server.tls.key";
inline constexpr std::string_view kRateLimit = "server.rate_limit";
inline constexpr std::string_view kAccountRate = "server.account_rate_limit";
inline constexpr std::string_view kDebateRate = "server.debate_rate_limit";
inline constexpr std::string_view kReportRate = "server.report_rate_limit";
inline constexpr std::string_view kHandshakeRate = "server.handshake_rate_limit";
inline constexpr std::string_view kRefreshRate = "server.refresh_rate_limit";
inline constexpr std::string_view kLogLevel = "log.level";
inline constexpr std::string_view kLogFormat = "log.format";
inline constexpr std::string_view kLogAccess = "log.access";
inline constexpr std::string_view kMetricsToken = "metrics.token";
inline constexpr std::string_view kDatabaseUrl = "database.url";
inline constexpr std::string_view kDatabaseRequired = "database.required";
inline constexpr std::string_view kDatabasePool = "database.pool_size";
inline constexpr std::string_view kAcquireMs = "database.acquire_timeout_ms";
inline constexpr std::string_view kConnectMs = "database.connect_timeout_ms";
inline constexpr std::string_view kStatementMs = "database.statement_timeout_ms";
inline constexpr std::string_view kSqlitePath = "database.sqlite_path";
inline constexpr std::string_view kRedisUrl = "redis.url";
inline constexpr std::string_view kMultiInstance = "cluster.multi_instance";
inline constexpr std::string_view kSingleInstance = "cluster.single_instance";
inline constexpr std::string_view kRequireDistributed = "cluster.require_distributed";
inline constexpr std::string_view kInstanceCount = "cluster.instance_count";
inline constexpr std::string_view kRegistration = "auth.registration";
inline constexpr std::string_view kDebatesPerDay = "auth.debates_per_day";
inline constexpr std::string_view kDebatesAtOnce = "auth.debates_at_once";
inline constexpr std::string_view kLoginRate = "auth.login_rate_per_minute";
inline constexpr std::string_view kJwtSecret = "auth.jwt_secret";
inline constexpr std::string_view kJwtPrevious = "auth.jwt_secret_previous";
inline constexpr std::string_view kApiToken = "auth.api_token";
inline constexpr std::string_view kAccessHours = "auth.access_token_hours";
inline constexpr std::string_view kRefreshDays = "auth.refresh_token_days";
inline constexpr std::string_view kEncryptionKey = "encryption.key";
inline constexpr std::string_view kPreviousKeys = "encryption.previous_keys";
inline constexpr std::string_view kKeyRotatedAt = "encryption.rotated_at";
inline constexpr std::string_view kKeyRotationDays = "encryption.rotation_days";
inline constexpr std::string_view kAnthropicKey = "providers.anthropic_api_key";
inline constexpr std::string_view kOpenAiKey = "providers.openai_api_key";
inline constexpr std::string_view kOpenRouterKey = "providers.openrouter_api_key";
inline constexpr std::string_view kOpenAiBaseUrl = "providers.openai_base_url";
inline constexpr std::string_view kOpenAiModel = "providers.openai_model";
inline constexpr std::string_view kAnthropicBaseUrl = "providers.anthropic_base_url";
inline constexpr std::string_view kAnthropicModel = "providers.anthropic_model";
inline constexpr std::string_view kOpenRouterBaseUrl = "providers.openrouter_base_url";
inline constexpr std::string_view kOpenRouterModel = "providers.openrouter_model";
inline constexpr std::string_view kGeminiKey = "providers.gemini_api_key";
inline constexpr std::string_view kGeminiBaseUrl = "providers.gemini_base_url";
inline constexpr std::string_view kGeminiModel = "providers.gemini_model";
inline constexpr std::string_view kLocalKey = "providers.local_api_key";
inline constexpr std::string_view kLocalBaseUrl = "providers.local_base_url";
inline constexpr std::string_view kLocalModel = "providers.local_model";
inline constexpr std::string_view kAnthropicToken = "providers.anthropic_auth_token";
inline constexpr std::string_view kAnthropicVersion = "providers.anthropic_version";
inline constexpr std::string_view kAnthropicHeaders = "providers.anthropic_headers";
inline constexpr std::string_view kOpenAiHeaders = "providers.openai_headers";
inline constexpr std::string_view kOpenAiOrganization = "providers.openai_organization";
inline constexpr std::string_view kOpenAiProject = "providers.openai_project";
inline constexpr std::string_view kOpenRouterReferer = "providers.openrouter_referer";
inline constexpr std::string_view kOpenRouterTitle = "providers.openrouter_title";
inline constexpr std::string_view kPlainHttp = "providers.plain_http";
inline constexpr std::string_view kModelsFile = "models.file";
inline constexpr std::string_view kModelsAllowed = "models.allowed";
inline constexpr std::string_view kOpenRouterDataCollection = "providers.openrouter_data_collection";
inline constexpr std::string_view kCallsAtOnce = "providers.calls_at_once";
inline constexpr std::string_view kMaxOutputTokens = "providers.max_output_tokens";
inline constexpr std::string_view kDemo = "providers.demo";
inline constexpr std::string_view kCallTimeout = "providers.call_timeout_seconds";
inline constexpr std::string_view kConnectTimeout = "providers.connect_timeout_seconds";
inline constexpr std::string_view kFirstByteTimeout = "providers.first_byte_timeout_seconds";
inline constexpr std::string_view kIdleTimeout = "providers.idle_timeout_seconds";
inline constexpr std::string_view kCallRetries = "providers.call_retries";
inline constexpr std::string_view kBreakerFailures = "providers.breaker_failures";
inline constexpr std::string_view kBreakerWindow = "providers.breaker_window_seconds";
inline constexpr std::string_view kOpenRouterBreakerFailures = "providers.openrouter_breaker_failures";
inline constexpr std::string_view kOpenRouterBreakerWindow = "providers.openrouter_breaker_window_seconds";
inline constexpr std::string_view kBreakerLongest = "providers.breaker_longest_seconds";
inline constexpr std::string_view kBreakerPercent = "providers.breaker_least_failure_percent";
inline constexpr std::string_view kFallback = "providers.fallback";
inline constexpr std::string_view kFallbackModels = "providers.fallback_models";
inline constexpr std::string_view kDefaultAgents = "debates.default_agents";
inline constexpr std::string_view kMaxConcurrent = "debates.max_concurrent";
inline constexpr std::string_view kChatProfiles = "chat.profiles";
inline constexpr std::string_view kChatCancels = "chat.cancel_when_gone";
inline constexpr std::string_view kMaxRounds = "debates.max_rounds";
inline constexpr std::string_view kDebateDeadline = "debates.deadline_seconds";
inline constexpr std::string_view kDebateBudget = "budget.debate_usd";
inline constexpr std::string_view kAccountBudget = "budget.account_daily_usd";
inline constexpr std::string_view kDailyBudget = "budget.daily_usd";
inline constexpr std::string_view kAcknowledged = "checks.acknowledged";
inline constexpr std::string_view kBackupDirectory = "backup.directory";
inline constexpr std::string_view kBackupRetentionDays = "backup.retention_days";
inline constexpr std::string_view kBackupLogDays = "backup.log_retention_days";
inline constexpr std::string_view kBackupContinuous = "backup.continuous";
inline constexpr std::string_view kBackupInterval = "backup.interval_seconds";
inline constexpr std::string_view kRtoMinutes = "recovery.rto_minutes";
inline constexpr std::string_view kRpoMinutes = "recovery.rpo_minutes";
inline constexpr std::string_view kConfigurationDays = "backup.configuration_retention_days";
inline constexpr std::string_view kArtifactsDays = "backup.artifacts_retention_days";
inline constexpr std::string_view kArtifactsEveryHours = "backup.artifacts_every_hours";
inline constexpr std::string_view kOffsite = "backup.offsite";
inline constexpr std::string_view kOffsiteEndpoint = "backup.offsite_endpoint";
inline constexpr std::string_view kOffsiteRegion = "backup.offsite_region";
inline constexpr std::string_view kOffsiteAccessKey = "backup.offsite_access_key";
inline constexpr std::string_view kOffsiteSecretKey = "backup.offsite_secret_key";
inline constexpr std::string_view kOffsiteLockDays = "backup.offsite_lock_days";
inline constexpr std::string_view kBackupProviderKeys = "backup.provider_keys";
inline constexpr std::string_view kBackupWriterKey = "backup.writer_key";
inline constexpr std::string_view kSlotGuard = "backup.slot_guard";
inline constexpr std::string_view kSealInterval = "backup.seal_interval_seconds";
inline constexpr std::string_view kBackupEveryHours = "backup.every_hours";
inline constexpr std::string_view kBackupRecipients = "backup.recipients";
inline constexpr std::string_view kBackupCompression = "backup.compression_level";
inline constexpr std::string_view kWebhookUrl = "notify.webhook_url";
inline constexpr std::string_view kWebhookKey = "notify.webhook_key";
inline constexpr std::string_view kEmailTo = "notify.email_to";
inline constexpr std::string_view kEmailFrom = "notify.email_from";
inline constexpr std::string_view kSmtpHost = "notify.smtp_host";
inline constexpr std::string_view kSmtpPort = "notify.smtp_port";
inline constexpr std::string_view kSmtpTls = "notify.smtp_tls";
inline constexpr std::string_view kSmtpUser = "notify.smtp_user";
inline constexpr std::string_view kSmtpPassword = "notify.smtp_password";
inline constexpr std::string_view kBackupPing = "notify.backup_ping_url";
inline constexpr std::string_view kDrillPing = "notify.drill_ping_url";
inline constexpr std::string_view kNotifyInterval = "notify.interval_seconds";
inline constexpr std::string_view kRemindHours = "notify.remind_hours";
}  // namespace key

}  // namespace aragora::config
