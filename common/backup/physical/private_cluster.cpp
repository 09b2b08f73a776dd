#include "common/backup/physical/private_cluster.h"

#include <pwd.h>
#include <unistd.h>

#include <thread>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

namespace {
constexpr const char* kServerUser = "postgres";
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr auto kStopTime = std::chrono::seconds(60);

// PostgreSQL refuses to run as root. Not used otherwise: the units' system call filter refuses setpriv.
std::vector<std::string> asServerUser(std::vector<std::string> argv, const std::vector<std::string>& options = {}) {
  if (::geteuid() != 0) return argv;
  if (const auto program = findProgram(argv[0])) argv[0] = *program;
  std::vector<std::string> wrapper{"setpriv", fmt::format("--reuid={}", kServerUser),
                                   fmt::format("--regid={}", kServerUser), "--init-groups"};
  wrapper.insert(wrapper.end(), options.begin(), options.end());
  wrapper.emplace_back("--");
  wrapper.insert(wrapper.end(), argv.begin(), argv.end());
  return wrapper;
}

// Recovery pauses when these are below what they were on the source (PostgreSQL documentation, "Hot Standby").
std::map<std::string, std::string> sourceLimits(const fs::path& data) {
  static const std::map<std::string, std::string> kNames = {
      {"max_connections setting", "max_connections"},
      {"max_worker_processes setting", "max_worker_processes"},
      {"max_wal_senders setting", "max_wal_senders"},
      {"max_prepared_xacts setting", "max_prepared_transactions"},
      {"max_locks_per_xact setting", "max_locks_per_transaction"}};
  const auto result =
      runCommand({{"pg_controldata", "-D", data.string()}, {{"LC_ALL", "C"}}, false}, std::chrono::seconds(10));
  if (result.status != 0)
    throw Error(Code::Damaged, fmt::format("pg_controldata cannot read {}: {}", data.string(),
                                           printable(trim(result.error_output), 200)));
  std::map<std::string, std::string> limits;
  for (const auto& line : split(result.output, '\n')) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    if (const auto found = kNames.find(line.substr(0, colon)); found != kNames.end())
      limits[found->second] = std::string(trim(std::string_view(line).substr(colon + 1)));
  }
  return limits;
}
}  // namespace

void giveToServerUser(const fs::path& path, bool recursively) {
  if (::geteuid() != 0) return;
  const auto* user = ::getpwnam(kServerUser);
  if (user == nullptr)
    throw Error(Code::Config, fmt::format("there is no user {} to run PostgreSQL as", kServerUser),
                "apt-get install postgresql-15");
  const auto give = [&](const fs::path& one) {
    if (::lchown(one.c_str(), user->pw_uid, user->pw_gid) != 0)
      throwSystemError(Code::Permission, "change the owner of", one.string(), errno);
  };
  give(path);
  if (!recursively) return;
  for (const auto& item : fs::recursive_directory_iterator(path)) give(item.path());
}

PrivateCluster::PrivateCluster(fs::path data, const std::map<std::string, std::string>& settings)
    : data_(std::move(data)) {
  // Debian keeps these outside of the data directory; ours admit whoever can open the socket.
  const auto hba = socket_.path() / "pg_hba.conf";
  const auto ident = socket_.path() / "pg_ident.conf";
  const auto configuration = socket_.path() / "postgresql.conf";
  createFileExclusively(hba, "local all all trust\n", 0600);
  createFileExclusively(ident, "", 0600);
  createFileExclusively(configuration, "", 0600);
  giveToServerUser(socket_.path(), true);
  giveToServerUser(data_, true);

  auto all = sourceLimits(data_);
  all.insert({{"config_file", configuration.string()},
              {"hba_file", hba.string()},
              {"ident_file", ident.string()},
              {"listen_addresses", ""},
              {"port", "5432"},
              {"unix_socket_directories", socket_.path().string()},
              {"unix_socket_permissions", "0700"},
              {"archive_mode", "off"},
              {"primary_conninfo", ""},
              {"primary_slot_name", ""},
              {"synchronous_standby_names", ""},
              {"ssl", "off"},
              {"logging_collector", "off"},
              {"log_destination", "stderr"},
              {"lc_messages", "C"},
              {"hot_standby", "on"}});
  for (const auto& [name, value] : settings) all[name] = value;
  std::vector<std::string> argv{"postgres", "-D", data_.string()};
  for (const auto& [name, value] : all) {
    argv.emplace_back("-c");
    argv.push_back(name + "=" + value);
  }
  // It must not outlive us, even if we are killed: SIGINT is its fast shutdown. (In a unit systemd sees to that.)
  server_ = std::make_unique<Subprocess>(Command{asServerUser(argv, {"--pdeathsig=INT"}), {}, false});
}

PrivateCluster::~PrivateCluster() {
  try {
    if (!server_->ended()) stop();
  } catch (const std::exception&) {
    // Subprocess kills what is left.
  }
}

database::Target PrivateCluster::target(const database::Target& live) const {
  const auto parts = database::postgres::parseUrl(live.url);
  const auto part = [&](const char* name) {
    const auto found = parts.find(name);
    return found == parts.end() ? std::string() : found->second;
  };
  auto target = live;
  target.engine = database::Engine::Postgres;
  target.url = Secret(fmt::format("host='{}' port=5432 user='{}' dbname='{}' sslmode=disable", socket_.path().string(),
                                  part("user"), part("dbname").empty() ? part("user") : part("dbname")));
  target.connect_timeout = std::chrono::milliseconds(1000);
  return target;
}

void PrivateCluster::waitUntilPromoted(const database::Target& live, Deadline deadline) {
  const auto here = target(live);
  while (true) {
    if (const auto status = server_->ended()) explainEnd(*status);
    try {
      const auto connection = database::connect(here);
      if (connection->query("SELECT pg_is_in_recovery()", {})[0].text(0) == "f") return;
    } catch (const Error& error) {
      if (error.code() != Code::Unreachable) throw;
    }
    if (remaining(deadline).count() == 0)
      throw Error(Code::Unreachable, fmt::format("recovery in {} did not end in time", data_.string()),
                  "it can be tried again");
    std::this_thread::sleep_for(kPoll);
  }
}

void PrivateCluster::explainEnd(int status) const {
  // Our own questions while it starts are answered with FATAL too.
  std::string fatal;
  std::string last;
  for (const auto& line : split(server_->errorOutput(), '\n')) {
    const bool severe = line.find("FATAL") != std::string::npos || line.find("PANIC") != std::string::npos ||
                        startsWith(line, "aragora:");
    if (severe && line.find("the database system is") == std::string::npos)
      fatal += (fatal.empty() ? "" : "; ") + std::string(trim(line));
    if (!trim(line).empty()) last = trim(line);
  }
  if (fatal.empty()) fatal = last;
  if (fatal.find("before configured recovery target was reached") != std::string::npos)
    throw Error(Code::NoInput, "the log ends before the target of the recovery",
                "choose an earlier target, or --latest");
  // It says how the data was left before it does anything with it.
  if (server_->errorOutput().find("database system was") == std::string::npos)
    throw Error(Code::CouldNotVerify,
                fmt::format("PostgreSQL did not start here (exit {}): {}", status, printable(fatal, 400)));
  throw Error(Code::Damaged,
              fmt::format("PostgreSQL gave up the recovery (exit {}): {}", status, printable(fatal, 400)));
}

void PrivateCluster::stop() {
  const auto result = runCommand(
      {asServerUser({"pg_ctl", "-D", data_.string(), "-m", "fast", "-w", "-t", "60", "stop"}), {}, false}, kStopTime);
  if (result.status != 0)
    throw Error(Code::Unreachable, fmt::format("PostgreSQL in {} does not stop: {}", data_.string(),
                                               printable(trim(result.error_output), 200)));
  server_->wait(deadlineIn(kStopTime));
}

}  // namespace aragora::backup
