#include "common/drill/instance.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/memory_file.h"
#include "common/base/text.h"
#include "common/config/catalogue.h"
#include "common/crypto/hash.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/net/failure.h"
#include "common/net/url.h"

namespace aragora::drill {

namespace {
namespace key = config::key;
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr auto kPatience = std::chrono::seconds(10);  // a request

std::uint16_t freePort() {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (!fd.valid() || ::bind(fd.get(), generic, length) != 0 || ::getsockname(fd.get(), generic, &length) != 0)
    throwSystemError(Code::Io, "find", "a free port", errno);
  return ntohs(address.sin_port);
}

// Every parameter as a query of the URI: the one form that takes sockets and passwords alike.
std::string uriOf(const Secret& url) {
  std::string uri = "postgresql:///";
  char separator = '?';
  for (const auto& [name, value] : database::postgres::parseUrl(url)) {
    uri += fmt::format("{}{}={}", separator, name, net::percentEncoded(value));
    separator = '&';
  }
  return uri;
}
}  // namespace

Instance::Instance(const database::Target& database, const Secret& encryption_key, const fs::path& scratch)
    : port_(freePort()) {
  std::map<std::string, std::string> environment;  // nothing of what the live deployment sets
  std::vector<Fd> secrets;  // in memory: no key of the deployment's, nor of the scratch one, is ever on a disk
  const auto secret = [&](std::string_view setting, const Secret& value) {
    const auto variable = std::string(config::findSetting(setting)->environment.front());
    secrets.push_back(sealedInMemory(variable, value));
    environment[variable + "_FILE"] = pathOf(secrets.back());
  };
  const auto empty = scratch / "aragora.toml";
  createFileExclusively(empty, "", 0600);
  secret(key::kEncryptionKey, encryption_key);
  secret(key::kJwtSecret, Secret(toHex(crypto::randomBytes(32))));
  if (database.engine == database::Engine::Postgres) secret(key::kDatabaseUrl, Secret(uriOf(database.url)));
  environment["ARAGORA_CONFIG"] = empty.string();
  environment["ARAGORA_ENV"] = "development";
  environment["ARAGORA_STATE_DIR"] = scratch.string();
  environment["ARAGORA_BIND_HOST"] = "127.0.0.1";
  environment["ARAGORA_PORT"] = fmt::format("{}", port_);
  const std::vector<std::string> argv{fs::read_symlink("/proc/self/exe").string(), "serve"};
  Command command{argv, environment, false};
  command.passes = {"PG*"};
  for (const auto& fd : secrets) command.descriptors.push_back(fd.get());
  process_ = std::make_unique<Subprocess>(command);
}

Instance::Answer Instance::request(const std::string& method, const std::string& path, const std::string& body,
                                   const std::string& access_token) const {
  net::Request request{.method = method,
                       .url = *net::Url::parse(fmt::format("http://127.0.0.1:{}{}", port_, path)),
                       .limits = {deadlineIn(kPatience), kPatience, {}}};
  if (!body.empty()) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.content = net::Content::of(body);
  }
  if (!access_token.empty()) request.headers.emplace_back("Authorization", "Bearer " + access_token);
  Answer answer;
  answer.status = client_.exchange(request, {.body = [&](std::string_view bytes) { answer.body += bytes; }}).status;
  return answer;
}

json::object Instance::requireObject(const std::string& method, const std::string& path, const std::string& body,
                                     const std::string& access_token) const {
  try {
    const auto answer = request(method, path, body, access_token);
    const auto value = tryParseJson(answer.body);
    if (answer.status == 200 && value && value->is_object()) return value->get_object();
    throw Error(Code::CheckFailed,
                fmt::format("{} {} answered {}: {}", method, path, answer.status, printable(answer.body, 200)));
  } catch (const net::Failure& failure) {
    throw Error(Code::CheckFailed, fmt::format("{} {} failed: {}", method, path, failure.what()));
  }
}

void Instance::waitUntilReady(Deadline deadline) {
  while (true) {
    if (const auto status = process_->ended())
      throw Error(Code::CheckFailed, fmt::format("the daemon ended with {}: {}", *status,
                                                 printable(join(split(process_->errorOutput(), '\n'), "; "), 400)));
    try {
      if (request("GET", "/api/ready").status == 200) return;
    } catch (const net::Failure&) {
      // not listening yet
    }
    if (remaining(deadline).count() == 0) throw Error(Code::CheckFailed, "the daemon was not ready in time");
    std::this_thread::sleep_for(kPoll);
  }
}

std::string Instance::smokeTest(std::int64_t expected_debates, Deadline deadline) {
  const auto health = requireObject("GET", "/api/health");
  if (jsonTextOr(health, "status", "") != "healthy")
    throw Error(Code::CheckFailed, "the daemon does not call itself healthy");
  const auto list = requireObject("GET", "/api/debates?limit=100");
  if (jsonIntegerOr(list, "total", -1) != expected_debates)
    throw Error(Code::CheckFailed, fmt::format("it lists {}, {} were restored",
                                               counted(jsonIntegerOr(list, "total", -1), "debate"), expected_debates));
  std::int64_t read = 0;
  if (const auto* items = jsonArray(list, "items"); items != nullptr) {
    for (const auto& item : *items) {
      const auto id = item.is_object() ? jsonTextOr(item.get_object(), "id", "") : "";
      requireObject("GET", "/api/debates/" + id + "/events?limit=1");
      ++read;
    }
  }
  const auto created =
      requireObject("POST", "/api/debates", R"({"task":"Does this restored instance work?","rounds":1})");
  const auto id = jsonTextOr(created, "debate_id", "");
  while (true) {
    const auto debate = requireObject("GET", "/api/debates/" + id);
    const auto status = jsonTextOr(debate, "status", "");
    if (status == "completed") break;
    if (status == "failed" || status == "cancelled" || remaining(deadline).count() == 0)
      throw Error(Code::CheckFailed, fmt::format("a new debate is {} instead of completed", status));
    std::this_thread::sleep_for(kPoll);
  }
  return fmt::format("healthy; {} listed, {} read; a new debate was held and read back",
                     counted(expected_debates, "debate"), read);
}

std::string Instance::sessionTest(const std::string& email, const Secret& password) {
  const auto login =
      requireObject("POST", "/api/auth/login", toJson(json::object{{"email", email}, {"password", password.reveal()}}));
  const auto whoIs = [&](const json::object& tokens) {
    const auto me = requireObject("GET", "/api/auth/me", {}, jsonTextOr(tokens, "access_token", ""));
    if (jsonTextOr(me, "email", "") != email)
      throw Error(Code::CheckFailed, "GET /api/auth/me names somebody else than who logged in");
  };
  whoIs(login);
  const auto renewed = requireObject("POST", "/api/auth/refresh",
                                     toJson(json::object{{"refresh_token", jsonTextOr(login, "refresh_token", "")}}));
  whoIs(renewed);
  const auto token = jsonTextOr(renewed, "access_token", "");
  requireObject("POST", "/api/auth/logout", {}, token);
  try {
    const auto status = request("GET", "/api/auth/me", {}, token).status;
    if (status != 401) throw Error(Code::CheckFailed, fmt::format("a session that was ended still answers {}", status));
  } catch (const net::Failure& failure) {
    throw Error(Code::CheckFailed, fmt::format("GET /api/auth/me failed: {}", failure.what()));
  }
  return "logged in, renewed, ended, refused afterwards";
}

}  // namespace aragora::drill
