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
    : port_(freePort()), visitor_(fmt::format("http://127.0.0.1:{}", port_)) {
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

void Instance::waitUntilReady(Deadline deadline) {
  while (true) {
    if (const auto status = process_->ended())
      throw Error(Code::CheckFailed, fmt::format("the daemon ended with {}: {}", *status,
                                                 printable(join(split(process_->errorOutput(), '\n'), "; "), 400)));
    try {
      if (visitor_.isReady()) return;
    } catch (const net::Failure&) {
      // not listening yet
    }
    if (remaining(deadline).count() == 0) throw Error(Code::CheckFailed, "the daemon was not ready in time");
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace aragora::drill
