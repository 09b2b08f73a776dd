#include "common/backup/physical/recover.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/backup/artifact.h"
#include "common/backup/physical/private_cluster.h"
#include "common/backup/physical/recovery_settings.h"
#include "common/backup/physical/source_configuration.h"
#include "common/backup/physical/unpack.h"
#include "common/backup/physical/wal_server.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/verify/verify.h"

namespace aragora::backup {

namespace {
using Goal = RecoveryTarget::Kind;
using Settings = std::map<std::string, std::string>;

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
        started_(std::chrono::steady_clock::now()),
        unfinished_(options.to.string() + ".unfinished") {}

  RecoverReport run() {
    requireProgram("postgres");
    requirePlace();
    plan_ = planRecovery({options_.directory, options_.keyring, options_.target, options_.timeline, options_.base,
                          options_.accept_loss, options_.most_log, options_.ask_server ? &options_.live : nullptr});
    report_.to = options_.to.string();
    report_.target = describe(options_.target);
    report_.timeline = plan_.timeline();
    report_.notes = plan_.notes;
    report_.losses = plan_.losses;
    report_.whole_log = plan_.whole;
    if (plan_.promised) report_.promised = plan_.promised->flushed;
    for (const auto& base : plan_.bases) {
      if (recoverFrom(base)) break;
    }
    report_.seconds = secondsSince(started_);
    return std::move(report_);
  }

 private:
  static void requireProgram(const char* name) {
    if (!findProgram(name))
      throw Error(Code::Config, fmt::format("{} is not installed here", name), "apt-get install postgresql-15");
  }

  void requirePlace() const {
    if (fs::exists(fs::symlink_status(options_.to)))  // also a link that leads nowhere
      throw Error(Code::CannotCreate, fmt::format("{} exists already", options_.to.string()),
                  "name a directory that does not exist");
    const bool left_behind = fs::exists(unfinished_);
    if (left_behind && !removeIfAbandoned(unfinished_))
      throw Error(
          Code::CannotCreate,
          fmt::format("{} is there: a recovery into {} is under way", unfinished_.string(), options_.to.string()),
          "wait for it to end");
    // Tablespaces of a run that was killed: it had found none there when it began.
    if (left_behind && fs::exists(spaces())) {
      log::warning("removed {}: a run that was killed left it", spaces().string());
      fs::remove_all(spaces());
    }
    if (fs::exists(options_.to.string() + ".unproven"))
      throw Error(Code::CannotCreate,
                  fmt::format("{}.unproven is there, from an earlier recovery", options_.to.string()),
                  "look at it and move it away, or name another directory with --to");
    if (fs::exists(spaces()))
      throw Error(Code::CannotCreate, fmt::format("{} exists already", spaces().string()),
                  "name another directory with --to");
  }

  // False when the target turned out to lie before this base backup and there is an older one.
  bool recoverFrom(const Entry& base) {
    base_ = &base;
    report_.base = base.id;
    checkWhatIsHere();
    if (options_.dry_run) return showPlan();
    try {
      unpack();
      replay();
      return true;
    } catch (const RecoveryEnded& error) {
      removeUnfinished();
      if (error.why() == RecoveryEnded::Why::TargetBeforeBackup && &base != &plan_.bases.back()) return false;
      throw;
    } catch (...) {
      removeUnfinished();
      throw;
    }
  }

  void removeUnfinished() {
    std::error_code ignored;
    if (made_directory_ && fs::remove_all(unfinished_, ignored) > 0) interrupt::removed(unfinished_.string());
    if (made_directory_ && report_.tablespaces > 0) fs::remove_all(spaces(), ignored);
    report_.tablespaces = 0;
    made_directory_ = false;
  }

  const PhysicalRecord& physical() const { return *base_->manifest->physical; }

  // Before anything is made. What is elsewhere is read once only: its digests are checked on the way in.
  void checkWhatIsHere() {
    requireServerUserEnters(options_.to.parent_path());
    Repository::requireAuthentic(*base_, *options_.keyring);
    if (!base_->directory.isLocal()) return;
    checkStored(base_->directory, *base_->manifest, options_.progress);
    if (plan_.listing.segment_size == 0 || options_.target.kind != Goal::Latest || options_.accept_loss) return;
    archive_.checkBranch(plan_.listing, plan_.order(physical()));  // other targets may lie before the damage
  }

  bool showPlan() {
    const auto* file = base_->manifest->file(content::kDatabase);
    report_.plan = {fmt::format("unpack base backup {} ({}) into {}", base_->id, humanBytes(file->plain_size),
                                options_.to.string()),
                    fmt::format("replay the log of timeline {} from {} towards {} (it ends at {}, {})",
                                plan_.timeline(), formatLsn(physical().start), describe(options_.target),
                                formatLsn(plan_.end), counted(plan_.order(physical()).size(), "file")),
                    "promote, and stop; nothing else is touched"};
    return true;
  }

  void unpack() {
    makeDirectories(options_.to.parent_path(), 0755);
    const auto began = std::chrono::steady_clock::now();
    Unpacker unpacker(unfinished_);
    made_directory_ = true;
    lock_ = lockDirectory(unfinished_);
    const auto& cluster = *base_->manifest->file(content::kDatabase);
    begin(options_.progress, {"unpacking the base backup", cluster.plain_size});
    readArtifact(
        base_->directory, cluster, options_.keyring->backupIdentities(),
        [&](std::string_view bytes) {
          unpacker.write(bytes);
          report_.unpacked_bytes += bytes.size();
        },
        options_.progress);
    unpacker.finish();
    placeTablespaces();
    for (const auto& signal : removeSignals(unfinished_)) report_.notes.push_back("removed: " + signal);
    createFileExclusively(unfinished_ / "recovery.signal", "", 0600);
    report_.unpack_seconds = secondsSince(began);
  }

  // In the archive a directory each; PostgreSQL wants links that lead out of its own directory.
  void placeTablespaces() {
    std::error_code ignored;
    for (const auto& item : fs::directory_iterator(unfinished_ / "pg_tblspc", ignored)) {
      const auto place = spaces();
      if (report_.tablespaces == 0 && ::mkdir(place.c_str(), 0700) != 0)
        throwSystemError(Code::CannotCreate, "create", place.string(), errno);
      ++report_.tablespaces;
      const auto target = place / item.path().filename();
      renameDurably(item.path(), target);
      fs::create_directory_symlink(target, item.path());
    }
    if (report_.tablespaces > 0) giveToServerUser(spaces(), true);
  }

  fs::path spaces() const { return options_.to.string() + ".tablespaces"; }

  void replay() {
    const auto from = std::chrono::steady_clock::now();
    const auto beside = options_.to.parent_path();
    const auto order = plan_.order(physical());
    WalServer wal(archive_, {plan_.listing, plan_.timeline(), plan_.end, order}, beside);
    const ServersProgram program(beside);
    auto settings =
        recoverySettings(options_.target, plan_.timeline(), unfinished_, {program.path(), wal.ahead(), wal.socket()});
    const auto deadline = deadlineIn(options_.deadline);
    const auto at_base = recordedLimits(unfinished_);
    std::unique_ptr<PrivateCluster> cluster;
    beginReplaying();
    while (!cluster) {
      const auto limits = recordedLimits(unfinished_);
      cluster = std::make_unique<PrivateCluster>(unfinished_, settings);
      try {
        cluster->waitUntilPromoted(deadline, [&] {
          noteReplayed(order, wal.served());
          return wal.work();
        });
      } catch (const RecoveryEnded& error) {
        if (error.why() == RecoveryEnded::Why::LogEndedBeforeTarget) {
          goOnToTheEnd(settings);
        } else if (recordedLimits(unfinished_) == limits) {  // else the log has raised one since: once more with it
          throw;
        }
        cluster.reset();
      }
    }
    report_.replay_seconds = secondsSince(from);
    report_.log_files = wal.served();
    noteRaisedLimits(at_base);
    std::string left_out;
    std::optional<Error> trouble;
    try {
      left_out = lookAt(*cluster);
    } catch (const Error& error) {  // it is finished all the same, and nobody has to do it again
      if (error.code() == Code::Interrupted) throw;
      trouble = error;
    }
    cluster->stop();
    handOver(left_out, trouble);
  }

  // Where a recovery to a time, a name or a transaction will end, only the log itself knows: its own end is named.
  void beginReplaying() const {
    Lsn target = 0;
    if (options_.target.kind == Goal::Latest) target = plan_.end;
    if (options_.target.kind == Goal::Position) target = std::min(plan_.end, *parseLsn(options_.target.value));
    const auto total = target > physical().start ? target - physical().start : 0;
    begin(options_.progress, {total > 0 ? fmt::format("replaying the log to {}", formatLsn(target))
                                        : fmt::format("replaying the log, which ends at {}", formatLsn(plan_.end)),
                              total});
  }

  // What lies before the last file that PostgreSQL took has been replayed.
  void noteReplayed(const std::vector<std::string>& order, std::size_t taken) const {
    if (options_.progress == nullptr || taken == 0 || order.empty()) return;
    const auto size = plan_.listing.segment_size;
    const auto last = parseSegmentName(order[std::min(taken, order.size()) - 1], size);
    if (last && last->number * size > physical().start)
      options_.progress->reach(last->number * size - physical().start);
  }

  // PostgreSQL stops at the first commit behind a time and does not find one where nothing was written since. When all
  // that there was up to then is known to be in the log, its end is the target.
  void goOnToTheEnd(Settings& settings) {
    const bool at_end =
        (options_.target.kind == Goal::Time && plan_.covered && *plan_.covered >= *fromIso(options_.target.value)) ||
        (options_.target.kind == Goal::Position && plan_.end >= *parseLsn(options_.target.value));
    if (!at_end)
      throw Error(Code::NoInput,
                  fmt::format("{} cannot be reached: recovery from base backup {} is possible through {}{}",
                              describe(options_.target), base_->id, formatLsn(plan_.end),
                              plan_.covered ? fmt::format(" ({})", toIso(*plan_.covered)) : ""),
                  "choose an earlier target, or --latest");
    if (!plan_.missing.empty() && !options_.accept_loss) throw Error(Code::Damaged, plan_.missing, kLossHint);
    for (const auto* name : {"recovery_target_time", "recovery_target_lsn", "recovery_target_inclusive"})
      settings.erase(name);
    to_end_ = true;
  }

  // Answers what the log has and the replay left out; throws only when it cannot be looked at.
  std::string lookAt(const PrivateCluster& cluster) {
    cluster.requireDatabase(options_.live);
    const auto recovered = cluster.target(options_.live, PrivateCluster::Purpose::Look);
    const auto connection = database::connect(recovered);
    const auto row = connection->query(
        "SELECT pg_last_wal_replay_lsn()::text, (extract(epoch FROM pg_last_xact_replay_timestamp()) * "
        "1000000)::bigint",
        {})[0];
    report_.reached = parseLsn(row.text(0)).value_or(0);
    report_.last_commit = row.optionalInteger(1);
    report_.log_bytes = report_.reached > physical().stop ? report_.reached - physical().stop : 0;
    noteSubscriptions(*connection);
    if (options_.verify) verify(recovered);
    const bool everything = options_.target.kind == Goal::Latest || to_end_;
    if (everything && plan_.whole) report_.covered = plan_.covered;
    return everything && plan_.whole ? leftOut(archive_, plan_, report_.reached) : std::string();
  }

  // The configuration that comes back is of the time of the base backup.
  void noteRaisedLimits(const Settings& at_base) {
    for (const auto& [name, value] : recordedLimits(unfinished_)) {
      const auto before = at_base.find(name);
      if (before != at_base.end() && parseInteger(value) > parseInteger(before->second))
        report_.notes.push_back(
            fmt::format("the source set {} to {} after the base backup, whose configuration says {}: "
                        "start it with -c {}={}",
                        name, value, before->second, name, value));
    }
  }

  void noteSubscriptions(database::Connection& connection) {
    const auto enabled = connection.query(
        "SELECT count(*), coalesce(string_agg(subname, ', '), '') FROM pg_subscription WHERE subenabled", {})[0];
    if (enabled.integer(0) == 0) return;
    report_.notes.push_back(
        fmt::format("it subscribes to other databases ({}): while the old server lives, start it with -c "
                    "max_logical_replication_workers=0, or it takes what that one waits for",
                    printable(enabled.text(1), 200)));
  }

  void verify(const database::Target& recovered) {
    verify::Options how;
    how.keyring = options_.keyring;
    how.progress = options_.progress;
    const auto found = verify::verifyDatabase(recovered, how);
    report_.verified = found.held();
    report_.warnings = found.warnings();
    if (const auto* against = found.againstRestored())
      report_.against = fmt::format("{}: {}", against->id, against->message);
  }

  // The server did not wait for the disk. The directory has its name only after everything in it is there.
  void makeDurable() const {
    syncFileSystem(unfinished_);
    if (report_.tablespaces > 0) syncFileSystem(spaces());
  }

  // From here on it is finished, and stays.
  void handOver(const std::string& left_out, std::optional<Error> trouble) {
    try {
      for (const auto& removed : putConfigurationBack(unfinished_))
        report_.notes.push_back(fmt::format("removed: {}", removed));
    } catch (const Error& error) {
      if (!trouble) trouble = error;
    }
    makeDurable();
    const bool less = !left_out.empty() && !options_.accept_loss;
    const fs::path name = less || trouble ? options_.to.string() + ".unproven" : options_.to.string();
    renameDurably(unfinished_, name);
    made_directory_ = false;
    report_.to = name.string();
    const auto where = fmt::format("; what was recovered is in {}", name.string());
    if (trouble) throw Error(trouble->code(), trouble->what() + where, trouble->hint());
    if (less) throw Error(Code::Damaged, left_out + where, kLossHint);
    if (!left_out.empty()) report_.losses.push_back(left_out);
  }

  const RecoverOptions& options_;
  WalArchive archive_;
  std::chrono::steady_clock::time_point started_;
  const fs::path unfinished_;
  Fd lock_;  // dies with us: what is left then is removed by the next recovery to the same place
  RecoveryPlan plan_;
  const Entry* base_ = nullptr;
  bool made_directory_ = false;  // what was there before is never removed
  bool to_end_ = false;          // the target is the end of the log
  RecoverReport report_;
};
}  // namespace

RecoverReport recoverCluster(const RecoverOptions& options) { return Recovery(options).run(); }

}  // namespace aragora::backup
