#include "common/backup/physical/recover.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/backup/artifact.h"
#include "common/backup/physical/private_cluster.h"
#include "common/backup/physical/unpack.h"
#include "common/backup/physical/wal_server.h"
#include "common/base/error.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/verify/verify.h"

namespace aragora::backup {

namespace {
using Kind = RecoveryTarget::Kind;

std::string describe(const RecoveryTarget& target) {
  switch (target.kind) {
    case Kind::Latest:
      return "the end of the log";
    case Kind::Time:
      return "time " + target.value;
    case Kind::Name:
      return "restore point " + target.value;
    case Kind::Position:
      return "position " + target.value;
    case Kind::Xid:
      return "transaction " + target.value;
    case Kind::Consistent:
      return "the end of the base backup";
  }
  return {};
}

// A base backup holds the whole segments of its own range; the archive has to go on behind them.
WalArchive::Reach logAfter(const WalArchive& archive, const PhysicalRecord& base) {
  const auto size = archive.segmentSize();
  if (size == 0) return {base.timeline, base.stop, false};
  return archive.reach(base.timeline, (base.stop + size - 1) / size * size);
}

// The abbreviation Z is not known yet when the server reads its settings.
std::string postgresTime(Micros at) {
  return fmt::format("{} {}.{:06}+00", toIso(at).substr(0, 10), toIso(at).substr(11, 8), at % 1'000'000);
}

// This program, where the server's user can run it: root's own directories are closed to others.
class ServersProgram {
 public:
  explicit ServersProgram(const fs::path& beside) {
    const auto self = fs::read_symlink("/proc/self/exe");
    if (::geteuid() != 0) {
      path_ = self;
      return;
    }
    copy_.emplace(beside);
    path_ = copy_->path() / "aragora";
    fs::copy_file(self, path_);
    fs::permissions(path_, fs::perms::owner_read | fs::perms::owner_exec);
    giveToServerUser(copy_->path(), true);
  }
  const fs::path& path() const { return path_; }

 private:
  std::optional<TemporaryDirectory> copy_;
  fs::path path_;
};

class Recovery {
 public:
  explicit Recovery(const RecoverOptions& options)
      : options_(options),
        archive_(options.directory / "wal", *options.keyring),
        started_(std::chrono::steady_clock::now()) {}

  RecoverReport run() {
    requireProgram("postgres");
    chooseBase();
    requireReachable();
    checkWhatIsHere();
    report_.base = base_.id;
    report_.to = options_.to.string();
    report_.target = describe(options_.target);
    if (options_.dry_run) return plan();
    if (fs::exists(options_.to))
      throw Error(Code::CannotCreate, fmt::format("{} exists already", options_.to.string()),
                  "name a directory that does not exist");
    try {
      unpack();
      replay();
    } catch (...) {
      std::error_code ignored;
      if (made_directory_) fs::remove_all(options_.to, ignored);
      if (made_directory_ && report_.tablespaces > 0) fs::remove_all(spaces(), ignored);
      throw;
    }
    report_.seconds = secondsSince(started_);
    return std::move(report_);
  }

 private:
  static void requireProgram(const char* name) {
    if (!findProgram(name))
      throw Error(Code::Config, fmt::format("{} is not installed here", name), "apt-get install postgresql-15");
  }

  void chooseBase() {
    const Repository repository(options_.directory, "base");
    std::vector<Entry> fitting;
    auto entries = repository.list();
    // One that was named is looked at whatever was found before.
    std::erase_if(entries, [&](const Entry& entry) {
      return options_.base ? entry.id != *options_.base : !entry.good() || !entry.manifest->physical;
    });
    if (entries.empty() && !options_.base)
      throw Error(Code::NoInput, fmt::format("there is no base backup in {}", (options_.directory / "base").describe()),
                  "make one: aragora backup create --kind base");
    for (const auto& entry : entries) {
      if (options_.base || endsBefore(*entry.manifest)) fitting.push_back(entry);
    }
    if (fitting.empty()) {
      if (options_.base)
        throw Error(Code::NoInput, fmt::format("there is no base backup {}", printable(*options_.base, 80)),
                    "see: aragora backup list");
      outside();
    }
    base_ = fitting.back();
    Repository::requireAuthentic(base_, *options_.keyring);
  }

  bool endsBefore(const Manifest& manifest) const {
    if (options_.target.kind == Kind::Time) return manifest.finished_at <= *fromIso(options_.target.value);
    if (options_.target.kind == Kind::Position) return manifest.physical->stop <= *parseLsn(options_.target.value);
    return true;
  }

  // What can be known beforehand; names and transactions are found while replaying or not at all.
  void requireReachable() {
    const auto& physical = *base_.manifest->physical;
    if (options_.target.kind == Kind::Consistent) return;
    const auto reach = logAfter(archive_, physical);
    if (options_.target.kind == Kind::Position && std::max(reach.end, physical.stop) < *parseLsn(options_.target.value))
      outside();
    const auto status = archive_.readStatus();
    if (options_.target.kind == Kind::Time && status && status->durable_through < *fromIso(options_.target.value))
      outside();
    if (reach.gap && (options_.target.kind == Kind::Latest || options_.target.kind == Kind::Time))
      throw Error(
          Code::NoInput, fmt::format("the log after base backup {} has a gap at {}", base_.id, formatLsn(reach.end)),
          fmt::format("recover to it with --target-lsn {}, or use a base backup made after it", formatLsn(reach.end)));
  }

  [[noreturn]] void outside() {
    const auto window = recoveryWindow(options_.directory, *options_.keyring);
    throw Error(Code::NoInput,
                fmt::format("{} cannot be reached: recovery is possible from {} through {} (position {})",
                            describe(options_.target), window ? toIso(window->from) : "nowhere",
                            window && window->through ? toIso(*window->through) : "the end of the log",
                            window ? formatLsn(window->end) : "none"),
                "choose a target inside of it, or --latest");
  }

  // Before anything is made. What is elsewhere is read once only: its digests are checked on the way in.
  void checkWhatIsHere() {
    if (!base_.directory.isLocal()) return;
    for (const auto& file : base_.manifest->files) checkStored(base_.directory, file);
    const auto size = archive_.segmentSize();
    const auto& physical = *base_.manifest->physical;
    if (size == 0 || options_.target.kind != Kind::Latest) return;  // a target may lie before the damage
    archive_.check({physical.timeline, (physical.stop + size - 1) / size}, false);
  }

  RecoverReport plan() {
    const auto& physical = *base_.manifest->physical;
    const auto* file = base_.manifest->file("database");
    const auto reach = logAfter(archive_, physical);
    report_.plan = {
        fmt::format("unpack base backup {} ({}) into {}", base_.id, humanBytes(file->plain_size), options_.to.string()),
        fmt::format("replay the log from {} towards {} (it ends at {})", formatLsn(physical.start),
                    describe(options_.target), formatLsn(reach.end)),
        "promote, and stop; nothing else is touched"};
    report_.seconds = secondsSince(started_);
    return std::move(report_);
  }

  void unpack() {
    makeDirectories(options_.to.parent_path(), 0755);
    Unpacker unpacker(options_.to);
    made_directory_ = true;
    readArtifact(base_.directory, *base_.manifest->file("database"), options_.keyring->backupIdentities(),
                 [&](std::string_view bytes) { unpacker.write(bytes); });
    unpacker.finish();
    placeTablespaces();
    createFileExclusively(options_.to / "recovery.signal", "", 0600);
    report_.unpack_seconds = secondsSince(started_);
  }

  // In the archive a directory each; PostgreSQL wants links that lead out of its own directory.
  void placeTablespaces() {
    std::error_code ignored;
    for (const auto& item : fs::directory_iterator(options_.to / "pg_tblspc", ignored)) {
      const auto place = spaces();
      if (report_.tablespaces++ == 0 && ::mkdir(place.c_str(), 0700) != 0) {
        made_directory_ = false;
        fs::remove_all(options_.to, ignored);
        throwSystemError(Code::CannotCreate, "create", place.string(), errno);
      }
      const auto target = place / item.path().filename();
      renameDurably(item.path(), target);
      fs::create_directory_symlink(target, item.path());
    }
    if (report_.tablespaces > 0) giveToServerUser(spaces(), true);
  }

  fs::path spaces() const { return options_.to.string() + ".tablespaces"; }

  void replay() {
    const auto from = std::chrono::steady_clock::now();
    const WalServer wal(archive_);
    const ServersProgram program(options_.to.parent_path());
    PrivateCluster cluster(options_.to, recoverySettings(program.path(), wal.socket()));
    try {
      cluster.waitUntilPromoted(options_.live, deadlineIn(options_.deadline));
    } catch (const Error& error) {
      if (error.code() == Code::NoInput) outside();
      throw;
    }
    report_.replay_seconds = secondsSince(from);
    report_.log_files = wal.served();
    lookAt(cluster.target(options_.live));
    cluster.stop();
  }

  std::map<std::string, std::string> recoverySettings(const fs::path& program, const fs::path& socket) const {
    // For the shell that runs the command; % is PostgreSQL's.
    const auto quoted = [](const fs::path& path) {
      return "'" + replaceAll(replaceAll(path.string(), "'", "'\\''"), "%", "%%") + "'";
    };
    std::map<std::string, std::string> settings{
        {"restore_command", fmt::format("{} restore wal-get %f %p --from {}", quoted(program), quoted(socket))},
        {"recovery_target_timeline", "latest"},
        {"recovery_target_action", "promote"}};
    switch (options_.target.kind) {
      case Kind::Latest:
        break;
      case Kind::Time:
        settings["recovery_target_time"] = postgresTime(*fromIso(options_.target.value));
        break;
      case Kind::Name:
        settings["recovery_target_name"] = options_.target.value;
        break;
      case Kind::Position:
        settings["recovery_target_lsn"] = options_.target.value;
        break;
      case Kind::Xid:
        settings["recovery_target_xid"] = options_.target.value;
        break;
      case Kind::Consistent:
        settings["recovery_target"] = "immediate";
        break;
    }
    return settings;
  }

  void lookAt(const database::Target& recovered) {
    const auto connection = database::connect(recovered);
    const auto row = connection->query(
        "SELECT pg_last_wal_replay_lsn()::text, (extract(epoch FROM pg_last_xact_replay_timestamp()) * "
        "1000000)::bigint",
        {})[0];
    report_.reached = parseLsn(row.text(0)).value_or(0);
    report_.last_commit = row.optionalInteger(1);
    if (!options_.verify) return;
    verify::Options how;
    how.keyring = options_.keyring;
    const auto found = verify::verifyDatabase(recovered, how);
    for (const auto& finding : found.findings)
      report_.verified.push_back(fmt::format("{}: {}", finding.id, finding.message));
    if (const auto* against = found.againstRestored())
      throw Error(Code::Damaged,
                  fmt::format("the recovered data does not verify: {}: {}", against->id, against->message));
  }

  const RecoverOptions& options_;
  WalArchive archive_;
  std::chrono::steady_clock::time_point started_;
  Entry base_;
  bool made_directory_ = false;  // what was there before is never removed
  RecoverReport report_;
};

void requireWellFormed(const RecoveryTarget& target) {
  const auto refuse = [&](const char* hint) {
    throw Error(Code::Usage,
                fmt::format("'{}' is no {}", printable(target.value, 60),
                            target.kind == Kind::Time       ? "time"
                            : target.kind == Kind::Position ? "position"
                                                            : "transaction"),
                hint);
  };
  if (target.kind == Kind::Time && !fromIso(target.value)) refuse("write it as 2026-01-13T10:00:00Z");
  if (target.kind == Kind::Position && !parseLsn(target.value)) refuse("write it as 16/B374D848");
  if (target.kind == Kind::Xid && !parseInteger(target.value))
    refuse("write the number that pg_current_xact_id() gave");
}
}  // namespace

RecoverReport recoverCluster(const RecoverOptions& options) {
  requireWellFormed(options.target);
  return Recovery(options).run();
}

std::optional<RecoveryWindow> recoveryWindow(const storage::Place& directory, const crypto::Keyring& keyring) {
  const WalArchive archive(directory / "wal", keyring);
  std::optional<RecoveryWindow> window;
  for (const auto& entry : Repository(directory, "base").list()) {
    if (!entry.good() || !entry.manifest->physical) continue;
    const auto reach = logAfter(archive, *entry.manifest->physical);
    // Behind a gap only newer base backups reach the end of the log.
    if (!window || window->gap)
      window = RecoveryWindow{entry.id, entry.manifest->finished_at, std::nullopt,
                              std::max(reach.end, entry.manifest->physical->stop), reach.gap};
  }
  const auto status = archive.readStatus();
  if (window && status && status->durable_through > 0 && !window->gap)
    window->through = std::max(window->from, status->durable_through);
  return window;
}

}  // namespace aragora::backup
