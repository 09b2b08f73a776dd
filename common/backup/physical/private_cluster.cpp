#include "common/backup/physical/private_cluster.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "common/backup/physical/movement.h"
#include "common/backup/physical/source_configuration.h"
#include "common/base/account.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

namespace {
constexpr const char* kServerUser = "postgres";
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr auto kLookForMovement = std::chrono::seconds(5);
constexpr auto kStopTime = std::chrono::seconds(60);
constexpr auto kEndTime = std::chrono::seconds(15);

// What the source set for its roles and databases is about its own sessions; ours look at everything, and take their
// time. Whoever connects says so with more weight (PostgreSQL documentation, "Setting Parameters").
constexpr const char* kOurSession =
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0 "
    "-c search_path=\\\"$user\\\",public -c role=none -c default_transaction_read_only=off -c row_security=on";
constexpr const char* kReadOnly = " -c default_transaction_read_only=on";

// PostgreSQL refuses to run as root. Not used otherwise: the units' system call filter refuses setpriv.
std::vector<std::string> asServerUser(std::vector<std::string> argv, const std::vector<std::string>& options = {}) {
  if (const auto program = findProgram(argv[0])) argv[0] = *program;  // wrappers look in PATH only
  if (::geteuid() != 0) return argv;
  std::vector<std::string> wrapper{"setpriv", fmt::format("--reuid={}", kServerUser),
                                   fmt::format("--regid={}", kServerUser), "--init-groups"};
  wrapper.insert(wrapper.end(), options.begin(), options.end());
  wrapper.emplace_back("--");
  wrapper.insert(wrapper.end(), argv.begin(), argv.end());
  return wrapper;
}

// What the recovered data asks for (a trigger that calls out, a foreign server) finds no network, where the system lets
// us make an empty one; in a hardened unit it does not.
std::vector<std::string> withoutNetwork(std::vector<std::string> argv) {
  std::vector<std::string> wrapper{"unshare", "--net"};
  if (::geteuid() != 0) wrapper.insert(wrapper.end(), {"--user", "--map-current-user"});
  wrapper.emplace_back("--");
  static const bool possible = [probe = wrapper]() mutable {
    probe.emplace_back("true");
    return findProgram("unshare") && runCommand({probe, {}, false}, std::chrono::seconds(10)).status == 0;
  }();
  if (!possible) return argv;
  argv.insert(argv.begin(), wrapper.begin(), wrapper.end());
  return argv;
}

// Everything that the server is told; nothing else reaches it.
std::map<std::string, std::string> ourSettings(const fs::path& directory) {
  return {{"config_file", (directory / "postgresql.conf").string()},
          {"hba_file", (directory / "pg_hba.conf").string()},
          {"ident_file", (directory / "pg_ident.conf").string()},
          {"listen_addresses", ""},
          {"port", "5432"},
          {"unix_socket_directories", directory.string()},
          {"unix_socket_permissions", "0700"},
          {"archive_mode", "off"},
          // Else each file of the log is waited for, 16 MB on the disk. Whoever keeps the directory syncs all of it at
          // the end.
          {"fsync", "off"},
          // A copy that subscribes would take from the publisher what the live database is waiting for.
          {"max_logical_replication_workers", "0"},
          // Origins that the source followed are restored into these.
          {"max_replication_slots", "1000"},
          {"autovacuum", "off"},
          // Where it is off at the end of a recovery, PostgreSQL removes what the source kept of it.
          {"track_commit_timestamp", "on"},
          {"jit", "off"},
          // Nobody looks before it is promoted. With it, recovery would pause for ever where the log raises a limit.
          {"hot_standby", "off"},
          {"log_startup_progress_interval", "5s"},
          {"logging_collector", "off"},
          {"log_destination", "stderr"},
          {"lc_messages", "C"},
          {"log_timezone", "UTC"},
          {"timezone", "UTC"}};
}
}  // namespace

namespace {
std::map<std::string, std::string> controlData(const fs::path& data) {
  const auto result =
      runCommand({{"pg_controldata", "-D", data.string()}, {{"LC_ALL", "C"}}, false}, std::chrono::seconds(10));
  if (result.status != 0)
    throw Error(Code::Damaged, fmt::format("pg_controldata cannot read {}: {}", data.string(),
                                           printable(trim(result.error_output), 200)));
  std::map<std::string, std::string> values;
  for (const auto& line : split(result.output, '\n')) {
    const auto colon = line.find(':');
    if (colon != std::string::npos)
      values[line.substr(0, colon)] = std::string(trim(std::string_view(line).substr(colon + 1)));
  }
  return values;
}

// PostgreSQL wants room for two segments at least; its defaults have it for segments of up to 32 MB.
std::map<std::string, std::string> roomForSegments(const fs::path& data) {
  const auto megabytes = parseInteger(controlData(data)["Bytes per WAL segment"]).value_or(0) >> 20;
  return {{"min_wal_size", fmt::format("{}MB", std::max<std::int64_t>(80, 2 * megabytes))},
          {"max_wal_size", fmt::format("{}MB", std::max<std::int64_t>(1024, 2 * megabytes))}};
}
}  // namespace

// PostgreSQL documentation, "Hot Standby Administrator's Overview".
std::map<std::string, std::string> recordedLimits(const fs::path& data) {
  static const std::map<std::string, std::string> kNames = {
      {"max_connections setting", "max_connections"},
      {"max_worker_processes setting", "max_worker_processes"},
      {"max_wal_senders setting", "max_wal_senders"},
      {"max_prepared_xacts setting", "max_prepared_transactions"},
      {"max_locks_per_xact setting", "max_locks_per_transaction"}};
  std::map<std::string, std::string> limits;
  for (const auto& [name, value] : controlData(data)) {
    if (const auto found = kNames.find(name); found != kNames.end()) limits[found->second] = value;
  }
  return limits;
}

void giveToServerUser(const fs::path& path, bool recursively) {
  if (::geteuid() != 0) return;
  const auto owner = findAccount(kServerUser);
  if (!owner)
    throw Error(Code::Config, fmt::format("there is no user {} to run PostgreSQL as", kServerUser),
                "apt-get install postgresql-15");
  const auto give = [&](const fs::path& one) {
    if (::lchown(one.c_str(), owner->user, owner->group) != 0)
      throwSystemError(Code::Permission, "change the owner of", one.string(), errno);
  };
  give(path);
  if (!recursively) return;
  for (const auto& item : fs::recursive_directory_iterator(path)) give(item.path());
}

void requireServerUserEnters(const fs::path& directory) {
  if (::geteuid() != 0) return;
  auto there = fs::absolute(directory).lexically_normal();
  while (there.has_relative_path() && !fs::exists(there)) there = there.parent_path();  // the others will be made
  if (runCommand({asServerUser({"test", "-x", there.string()}), {}, false}, std::chrono::seconds(10)).status == 0)
    return;
  throw Error(Code::Permission,
              fmt::format("the user {}, whom PostgreSQL runs as, may not enter {}", kServerUser, there.string()),
              "name a directory where it may, such as one in /var/lib/postgresql");
}

PrivateCluster::PrivateCluster(fs::path data, const std::map<std::string, std::string>& settings)
    : data_(std::move(data)) {
  setConfigurationAside(data_);
  // Ours admit whoever can open the socket.
  createFileExclusively(socket_.path() / "pg_hba.conf", "local all all trust\n", 0600);
  createFileExclusively(socket_.path() / "pg_ident.conf", "", 0600);
  createFileExclusively(socket_.path() / "postgresql.conf", "", 0600);
  giveToServerUser(socket_.path(), true);
  giveToServerUser(data_, true);

  auto all = recordedLimits(data_);
  all.merge(ourSettings(socket_.path()));
  all.merge(roomForSegments(data_));
  for (const auto& [name, value] : settings) all[name] = value;
  std::vector<std::string> argv{"postgres", "-D", data_.string()};
  for (const auto& [name, value] : all) {
    argv.emplace_back("-c");
    argv.push_back(name + "=" + value);
  }
  // It must not outlive us, even if we are killed: SIGINT is its fast shutdown. (In a unit systemd sees to that.)
  Command command{withoutNetwork(asServerUser(argv, {"--pdeathsig=INT"})), {}, false};
  command.death_signal = SIGINT;
  server_ = std::make_unique<Subprocess>(command);
}

PrivateCluster::~PrivateCluster() {
  try {
    const interrupt::Shield shield;
    if (!server_->ended()) shutDown("immediate", kEndTime);  // nobody wants it any more
  } catch (const std::exception&) {
    // Subprocess kills what is left.
  }
}

database::Target PrivateCluster::target(const database::Target& live, Purpose purpose) const {
  const auto parts = database::postgres::parseUrl(live.url);
  const auto part = [&](const char* name) {
    const auto found = parts.find(name);
    return found == parts.end() ? std::string() : found->second;
  };
  auto target = live;
  target.engine = database::Engine::Postgres;
  // This server and no other: an address in our environment would have the live one looked at in its place.
  target.url = database::postgres::connectionString(
      {{"host", socket_.path().string()},
       {"hostaddr", ""},
       {"port", "5432"},
       {"user", part("user")},
       {"dbname", part("dbname").empty() ? part("user") : part("dbname")},
       {"sslmode", "disable"},
       {"gssencmode", "disable"},
       {"channel_binding", "disable"},
       {"target_session_attrs", "any"},
       {"requirepeer", ""},
       {"options", std::string(kOurSession) + (purpose == Purpose::Look ? kReadOnly : "")}});
  target.connect_timeout = std::chrono::milliseconds(1000);
  return target;
}

// The last line of the postmaster's file, as pg_ctl reads it: until recovery is over it is «starting».
bool PrivateCluster::ready() const {
  std::error_code ignored;
  if (!fs::exists(data_ / "postmaster.pid", ignored)) return false;
  const auto lines = split(readFileIfExists(data_ / "postmaster.pid", 4096).value_or(""), '\n');
  return !lines.empty() && lines.back() == "ready";
}

void PrivateCluster::waitUntilPromoted(Deadline deadline, const std::function<std::size_t()>& work) {
  Movement movement(server_->pid());
  std::string said;
  std::size_t worked = 0;
  auto moved_at = std::chrono::steady_clock::now();
  auto look_at = deadlineIn(kLookForMovement);
  while (!ready()) {
    if (const auto status = server_->ended()) explainEnd(*status);
    if (remaining(deadline).count() == 0)
      throw Error(Code::Unreachable, fmt::format("recovery in {} did not end in time", data_.string()),
                  "it can be tried again");
    interrupt::check();
    std::this_thread::sleep_for(kPoll);
    const auto works = work ? work() : 0;  // each time: it also tells how far the replay is
    if (remaining(look_at).count() > 0) continue;
    look_at = deadlineIn(kLookForMovement);
    auto says = server_->errorOutputSoFar();
    const bool computes = movement.noticed();
    if (computes || says != said || works != worked) moved_at = std::chrono::steady_clock::now();
    said = std::move(says);
    worked = works;
    if (std::chrono::steady_clock::now() - moved_at < kStandstill) continue;
    const auto lines = split(said, '\n');
    throw RecoveryEnded(
        RecoveryEnded::Why::Stalled, Code::Unreachable,
        fmt::format("the recovery does not move: PostgreSQL has done nothing for {} s; its last word: {}",
                    kStandstill.count(), lines.empty() ? "none" : printable(lines.back(), 300)));
  }
}

void PrivateCluster::requireDatabase(const database::Target& live) const {
  const auto here = target(live);
  try {
    database::connect(here);
  } catch (const Error& error) {
    std::vector<std::string> names;
    try {
      auto maintenance = here;
      maintenance.url = database::postgres::withDatabase(here.url, "postgres");
      for (const auto& row : database::connect(maintenance)
                                 ->query("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate "
                                         "ORDER BY 1",
                                         {}))
        names.push_back(row.text(0));
    } catch (const Error&) {
      // Not even the role is there: the first error says so.
    }
    throw Error(Code::Config, fmt::format("the recovered cluster cannot be looked at: {}", error.what()),
                "DATABASE_URL names another role or database than the backup has" +
                    (names.empty() ? std::string() : "; its databases: " + join(names, ", ")));
  }
}

void PrivateCluster::explainEnd(int status) const {
  using Why = RecoveryEnded::Why;
  const auto& said = server_->errorOutput();
  const auto has = [&](const char* words) { return said.find(words) != std::string::npos; };
  std::string fatal;
  std::string last;
  for (const auto& line : split(said, '\n')) {
    const bool severe = line.find("FATAL") != std::string::npos || line.find("PANIC") != std::string::npos ||
                        startsWith(line, "aragora:");
    if (severe) fatal += (fatal.empty() ? "" : "; ") + std::string(trim(line));
    if (!trim(line).empty()) last = trim(line);
  }
  if (fatal.empty()) fatal = last;
  fatal = printable(fatal, 400);
  if (has("before configured recovery target was reached"))
    throw RecoveryEnded(Why::LogEndedBeforeTarget, Code::NoInput, "the log ends before the target of the recovery",
                        "choose an earlier target, or --latest");
  if (has("recovery stop point is before consistent recovery point"))
    throw RecoveryEnded(Why::TargetBeforeBackup, Code::NoInput,
                        "the target of the recovery lies before the end of the base backup",
                        "choose a later target, or an older base backup with --input");
  // A resource manager of an extension wrote into the log (PostgreSQL 15 and later): without it nobody can read it.
  if (has("resource manager with ID"))
    throw RecoveryEnded(
        Why::DidNotStart, Code::CouldNotVerify,
        fmt::format("the log was written by an extension that is not loaded here: {}", fatal),
        fmt::format("the source preloads: {}", printable(sourceSetting(data_, "shared_preload_libraries"), 200)));
  // It says how the data was left before it does anything with it.
  if (!has("database system was"))
    throw RecoveryEnded(Why::DidNotStart, Code::CouldNotVerify,
                        fmt::format("PostgreSQL did not start here (exit {}): {}", status, fatal));
  throw RecoveryEnded(Why::Damaged, Code::Damaged,
                      fmt::format("PostgreSQL gave up the recovery (exit {}): {}", status, fatal));
}

void PrivateCluster::stop() { shutDown("fast", kStopTime); }

void PrivateCluster::shutDown(const char* mode, std::chrono::seconds time) {
  const auto result = runCommand(
      {asServerUser({"pg_ctl", "-D", data_.string(), "-m", mode, "-w", "-t", fmt::format("{}", time.count()), "stop"}),
       {},
       false},
      time + std::chrono::seconds(5));
  if (result.status != 0)
    throw Error(Code::Unreachable, fmt::format("PostgreSQL in {} does not stop: {}", data_.string(),
                                               printable(trim(result.error_output), 200)));
  server_->wait(deadlineIn(time));
}

}  // namespace aragora::backup
