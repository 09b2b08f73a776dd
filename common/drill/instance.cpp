#include "common/drill/instance.h"

#include <Poco/Exception.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/StreamCopier.h>
#include <Poco/URI.h>
#include <thread>

#include "common/base/error.h"
#include "common/base/memory_file.h"
#include "common/base/text.h"
#include "common/config/catalogue.h"
#include "common/crypto/hash.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::drill {

namespace {
namespace key = config::key;
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr int kPatience = 10;  // seconds a request

std::uint16_t freePort() { return Poco::Net::ServerSocket(Poco::Net::SocketAddress("127.0.0.1", 0)).address().port(); }

// Every parameter as a query of the URI: the one form that takes sockets and passwords alike.
std::string uriOf(const Secret& url) {
  std::string uri = "postgresql:///";
  char separator = '?';
  for (const auto& [name, value] : database::postgres::parseUrl(url)) {
    std::string encoded;
    Poco::URI::encode(value, "!?#/'\";:,@&=+$%[]{}|\\^~`<> ", encoded);
    uri += fmt::format("{}{}={}", separator, name, encoded);
    separator = '&';
  }
  return uri;
}

// Everything that the live deployment sets is unset; an empty value is an unset one.
std::map<std::string, std::string> cleanEnvironment() {
  std::map<std::string, std::string> environment{
      {"CREDENTIALS_DIRECTORY", ""}, {"NOTIFY_SOCKET", ""}, {"WATCHDOG_USEC", ""}, {"LISTEN_FDS", ""}};
  for (const auto& setting : config::catalogue()) {
    for (const auto& name : setting.environment) {
      for (const auto* suffix : {"", "_FILE", "_COMMAND"}) environment[std::string(name) + suffix] = "";
    }
  }
  return environment;
}
}  // namespace

Instance::Instance(const database::Target& database, const config::Config& live, const fs::path& scratch)
    : port_(freePort()) {
  auto environment = cleanEnvironment();
  std::vector<Fd> secrets;  // in memory: no key of the deployment's, nor of the scratch one, is ever on a disk
  const auto secret = [&](std::string_view setting, const Secret& value) {
    const auto variable = std::string(config::findSetting(setting)->environment.front());
    secrets.push_back(sealedInMemory(variable, value));
    environment[variable + "_FILE"] = pathOf(secrets.back());
  };
  const auto empty = scratch / "aragora.toml";
  createFileExclusively(empty, "", 0600);
  secret(key::kEncryptionKey, live.secret(key::kEncryptionKey));
  secret(key::kJwtSecret, Secret(toHex(crypto::randomBytes(32))));
  if (database.engine == database::Engine::Postgres) secret(key::kDatabaseUrl, Secret(uriOf(database.url)));
  environment["ARAGORA_CONFIG"] = empty.string();
  environment["ARAGORA_ENV"] = "development";
  environment["ARAGORA_STATE_DIR"] = scratch.string();
  environment["ARAGORA_BIND_HOST"] = "127.0.0.1";
  environment["ARAGORA_PORT"] = fmt::format("{}", port_);
  const std::vector<std::string> argv{fs::read_symlink("/proc/self/exe").string(), "serve"};
  Command command{argv, environment, false};
  for (const auto& fd : secrets) command.descriptors.push_back(fd.get());
  process_ = std::make_unique<Subprocess>(command);
}

Instance::Answer Instance::request(const std::string& method, const std::string& path, const std::string& body,
                                   const std::string& access_token) const {
  Poco::Net::HTTPClientSession session("127.0.0.1", port_);
  session.setTimeout(Poco::Timespan(kPatience, 0));
  Poco::Net::HTTPRequest request(method, path, Poco::Net::HTTPMessage::HTTP_1_1);
  if (!body.empty()) {
    request.setContentType("application/json");
    request.setContentLength(static_cast<int>(body.size()));
  }
  if (!access_token.empty()) request.set("Authorization", "Bearer " + access_token);
  session.sendRequest(request) << body;
  Poco::Net::HTTPResponse response;
  Answer answer;
  Poco::StreamCopier::copyToString(session.receiveResponse(response), answer.body);
  answer.status = response.getStatus();
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
  } catch (const Poco::Exception& error) {
    throw Error(Code::CheckFailed, fmt::format("{} {} failed: {}", method, path, error.displayText()));
  }
}

void Instance::waitUntilReady(Deadline deadline) {
  while (true) {
    if (const auto status = process_->ended())
      throw Error(Code::CheckFailed, fmt::format("the daemon ended with {}: {}", *status,
                                                 printable(join(split(process_->errorOutput(), '\n'), "; "), 400)));
    try {
      if (request("GET", "/api/ready").status == 200) return;
    } catch (const Poco::Exception&) {
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
  } catch (const Poco::Exception& error) {
    throw Error(Code::CheckFailed, fmt::format("GET /api/auth/me failed: {}", error.displayText()));
  }
  return "logged in, renewed, ended, refused afterwards";
}

}  // namespace aragora::drill
