// Where serve, backup and drill will work: the address they listen on, the directories they write to. Each is tried the
// way they will try it, short of changing anything.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/abilities.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/checks/facts.h"
#include "common/checks/settings_checks.h"
#include "common/config/unit.h"

namespace aragora::checks {

namespace key = config::key;

namespace {
struct Endpoint {
  sockaddr_storage address{};
  socklen_t length = 0;
};

Endpoint endpointOf(const std::string& host, std::uint16_t port) {
  Endpoint result;
  auto* const v4 = reinterpret_cast<sockaddr_in*>(&result.address);
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(&result.address);
  if (::inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    result.length = sizeof(sockaddr_in);
  } else if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    result.length = sizeof(sockaddr_in6);
  }
  return result;
}

Endpoint placeOf(const net::ListenAddress& address) {
  if (!address.local()) return endpointOf(address.host, address.port);
  Endpoint result;
  auto* const local = reinterpret_cast<sockaddr_un*>(&result.address);
  local->sun_family = AF_UNIX;
  address.path.copy(local->sun_path, sizeof local->sun_path - 1);
  result.length = sizeof(sockaddr_un);
  return result;
}

Fd streamSocket(const Endpoint& endpoint) {
  return Fd(::socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// 0, or what bind(2) says. The socket is closed again before anybody could connect to it.
int bindError(const Endpoint& endpoint) {
  const Fd fd = streamSocket(endpoint);
  const int on = 1;
  if (!fd.valid()) return errno;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.length) == 0 ? 0 : errno;
}

// 0, or why no socket can be made there: nothing is, short of the file itself. What a dead daemon left is replaced.
int localError(const Endpoint& endpoint, const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) return ENOTSOCK;
    const Fd fd = streamSocket(endpoint);
    const bool dead = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.length) != 0 &&
                      errno == ECONNREFUSED;
    if (!dead) return EADDRINUSE;
  }
  return ::access(path.parent_path().c_str(), W_OK | X_OK) == 0 ? 0 : errno;
}

// Whether what listens there answers as serve does.
bool aragoraListens(const Endpoint& endpoint) {
  constexpr int kPatienceMs = 500;
  constexpr std::string_view kQuestion = "GET /api/health HTTP/1.0\r\n\r\n";
  const Fd fd = streamSocket(endpoint);
  if (!fd.valid()) return false;
  const int connected = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.length);
  if (connected != 0 && errno != EINPROGRESS) return false;
  pollfd entry{fd.get(), POLLOUT, 0};
  if (::poll(&entry, 1, kPatienceMs) != 1) return false;
  if (::send(fd.get(), kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL) < 0) return false;
  std::string answer;
  char block[2048];
  entry.events = POLLIN;
  while (answer.size() < 8192 && ::poll(&entry, 1, kPatienceMs) == 1) {
    const auto got = ::recv(fd.get(), block, sizeof(block), 0);
    if (got <= 0) break;
    answer.append(block, static_cast<std::size_t>(got));
  }
  // In the clear an aragora that speaks TLS says no more than who it is.
  if (answer.find("\r\nServer: aragora\r\n") != std::string::npos) return true;
  return answer.find("\"uptime_seconds\"") != std::string::npos && answer.find("\"components\"") != std::string::npos;
}

// What keeps a directory from being written to or made, nullopt when nothing does.
std::optional<std::string> obstacle(const fs::path& directory) {
  std::error_code ignored;
  auto present = directory;
  while (present != present.root_path() && !present.empty() && !fs::exists(fs::symlink_status(present, ignored)))
    present = present.parent_path();
  struct stat status {};
  if (::stat(present.c_str(), &status) != 0) return fmt::format("{}: {}", present.string(), systemError(errno));
  if (!S_ISDIR(status.st_mode)) return fmt::format("{} is not a directory", present.string());
  if (::access(present.c_str(), W_OK | X_OK) == 0) return std::nullopt;
  return present == directory
             ? fmt::format("{} cannot be written: {}", present.string(), systemError(errno))
             : fmt::format("{} cannot be made in {}: {}", directory.string(), present.string(), systemError(errno));
}

// One that is there is somebody's: its owner and mode are not ours to change.
std::string makeIt(const fs::path& directory) {
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(directory, ignored)))
    return fmt::format("name a directory of the service's own, or let its user write into {}", directory.string());
  return fmt::format("install -d -o aragora -m 750 {}", directory.string());
}

}  // namespace

namespace {
// The setting that decides where it listens: server.listen, or the older ones that stand for it.
std::string_view writtenAs(const config::Config& config, std::string_view k, std::string_view older) {
  return k == key::kListen && !config.isSet(k) ? older : k;
}

Finding cannotListen(const config::Config& config, std::string_view k, const net::ListenAddress& address, int error) {
  const auto host = writtenAs(config, k, key::kBindHost);
  const auto port = writtenAs(config, k, key::kPort);
  if (error == EADDRNOTAVAIL)
    return misconfigured(fmt::format("{}: this machine has no address {}", config.variable(host), address.host),
                         config.origin(host).text, "see: ip address; 0.0.0.0 is every interface");
  if (address.local() && error != EADDRINUSE)
    return misconfigured(
        fmt::format("{}: cannot listen on {}: {}", config.variable(k), address.text(), systemError(error)),
        config.origin(k).text, "its directory must be there and the service's own, such as /run/aragora");
  if (error == EACCES)
    return misconfigured(
        fmt::format("{}: port {} needs a right that this user has not", config.variable(port), address.port),
        config.origin(port).text,
        "use a port from 1024 on behind a proxy, or AmbientCapabilities=CAP_NET_BIND_SERVICE");
  auto finding = misconfigured(
      fmt::format("{}: cannot listen on {}: {}", config.variable(port), address.text(), systemError(error)),
      config.origin(port).text,
      address.local() ? "see who has it: ss -lxp" : "see who has it: ss -ltnp; or choose another port");
  if (!config.production()) finding.level = Level::Warning;
  return finding;
}

// What stands beside server.listen in the same place of the configuration, and is not heard.
std::optional<Finding> shadowedPort(const config::Config& config) {
  if (!config.isSet(key::kListen)) return std::nullopt;
  for (const auto k : {key::kBindHost, key::kPort}) {
    if (config.isSet(k) && config.origin(k).source == config.origin(key::kListen).source)
      return warning(fmt::format("{}: does nothing beside {}", config.variable(k), config.variable(key::kListen)),
                     config.origin(k).text, "remove it, or write it into the list");
  }
  return std::nullopt;
}
}  // namespace

std::vector<Finding> checkListening(const Context& context) {
  std::vector<Finding> findings;
  std::vector<std::string> free;
  std::vector<std::string> answering;
  for (const auto k : {key::kListen, key::kMetricsListen, key::kRedirectListen}) {
    for (const auto& address : context.config.addresses(k)) {
      const auto place = placeOf(address);
      if (place.length == 0) {
        findings.push_back(skipped("Listening: not tried, the address is not understood"));
        continue;
      }
      const int error = address.local() ? localError(place, address.path) : bindError(place);
      if (error == 0)
        free.push_back(address.text());
      else if (error == EADDRINUSE && aragoraListens(place))
        answering.push_back(address.text());
      else
        findings.push_back(cannotListen(context.config, k, address, error));
    }
  }
  if (!answering.empty()) findings.push_back(ok("Listening: an aragora answers on " + join(answering, ", ")));
  if (!free.empty())
    findings.push_back(ok(fmt::format("Listening: {} {} free", join(free, ", "), agreeing(free.size(), "is", "are"))));
  if (const auto unheard = shadowedPort(context.config)) findings.push_back(*unheard);
  return findings;
}

std::vector<Finding> checkStateDirectory(const Context& context) {
  const auto& config = context.config;
  const auto directory = config.stateDirectory();
  std::vector<Finding> findings;
  if (const auto what = obstacle(directory)) {
    findings.push_back(misconfigured(fmt::format("{}: {}", config.variable(key::kStateDirectory), *what),
                                     config.origin(key::kStateDirectory).text, makeIt(directory)));
    if (endsWith(*what, systemError(EACCES))) findings.back().code = Code::Permission;
  }
  if (!config.usesPostgres() && config.isSet(key::kSqlitePath)) {
    const auto file = config.sqlitePath();
    std::error_code ignored;
    const auto what = fs::is_directory(file, ignored) ? fmt::format("{} is a directory", file.string())
                                                      : obstacle(file.parent_path()).value_or("");
    if (!what.empty())
      findings.push_back(misconfigured(fmt::format("{}: {}", config.variable(key::kSqlitePath), what),
                                       config.origin(key::kSqlitePath).text,
                                       "name a file in a directory of the "
                                       "service's own"));
  }
  if (findings.empty()) findings.push_back(ok(fmt::format("State directory: {}", directory.string())));
  return findings;
}

namespace {
std::optional<Finding> lackingAbilities(const Context& context, const fs::path& directory) {
  const auto origin = context.config.origin(key::kBackupDirectory).text;
  try {
    const auto found = tryAbilities(directory);
    if (!found.locks)
      return misconfigured(fmt::format("Backup directory: the file system of {} has no locks: two runs would not see "
                                       "each other",
                                       directory.string()),
                           origin, "use a file system that has flock(2)");
    if (found.lacks.empty()) return std::nullopt;
    return warning(
        fmt::format("Backup directory: the file system of {} lacks {}", directory.string(), join(found.lacks, ", ")),
        origin, "backups work there; a local file system such as ext4 or xfs has all of it");
  } catch (const Error& error) {
    return warning(fmt::format("Backup directory: {}", error.what()), origin, error.hint());
  }
}
}  // namespace

namespace {
// The units keep the daemon from its backups; one that makes them itself needs this.
std::string dropIn(const std::string& unit, const Context& context) {
  const auto directory = context.config.backupDirectory().string();
  const auto state = context.config.stateDirectory().string();
  const bool elsewhere = directory != state && !startsWith(directory, state + "/");
  return fmt::format(
      "mkdir -p /etc/systemd/system/{0}.d && printf '[Service]\\nReadOnlyPaths=\\n{1}' "
      ">/etc/systemd/system/{0}.d/continuous.conf && systemctl daemon-reload && systemctl restart {0}",
      unit, elsewhere ? fmt::format("ReadWritePaths={}\\n", directory) : "");
}

// backup.continuous: the daemon writes there itself. Looked at from inside its unit, or with what the unit says.
std::optional<Finding> closedToTheDaemon(const Context& context) {
  const auto& config = context.config;
  if (!config.flag(key::kBackupContinuous)) return std::nullopt;
  const auto directory = config.backupDirectory();
  const auto inside = config::unitOfThisProcess();
  const bool here = inside && ::access(directory.c_str(), W_OK | X_OK) != 0 && errno == EROFS;
  if (!here && (context.unit.empty() || context.unit_places.mayWrite(directory))) return std::nullopt;
  const auto unit = here ? *inside : context.unit;
  return misconfigured(
      fmt::format("Backup directory: {} lets the daemon only read {}, and with {} it makes the backups "
                  "itself",
                  unit, directory.string(), config.variable(key::kBackupContinuous)),
      config.origin(key::kBackupContinuous).text, dropIn(unit, context));
}
}  // namespace

std::vector<Finding> checkBackupDirectory(const Context& context) {
  if (auto closed = closedToTheDaemon(context)) return {std::move(*closed)};
  const auto directory = context.config.backupDirectory();
  const auto what = obstacle(directory);
  if (!what) {
    std::error_code ignored;
    if (fs::exists(directory, ignored)) {
      if (auto finding = lackingAbilities(context, directory)) return {std::move(*finding)};
    }
    return {ok(fmt::format("Backup directory: {}", directory.string()))};
  }
  struct stat status {};
  const bool anothers = ::stat(directory.c_str(), &status) == 0 && status.st_uid != ::geteuid() && status.st_uid != 0;
  if (anothers && !context.config.flag(key::kBackupContinuous) && ::access(directory.c_str(), R_OK | X_OK) == 0)
    return {ok(fmt::format("Backup directory: {} is another user's, and can be read", directory.string()))};
  auto finding = misconfigured(fmt::format("Backup directory: {}", *what),
                               context.config.origin(key::kBackupDirectory).text, makeIt(directory));
  // Backups may be another user's work; a file in the way is in everybody's.
  if (!endsWith(*what, "is not a directory")) finding.level = Level::Warning;
  return {finding};
}

}  // namespace aragora::checks
