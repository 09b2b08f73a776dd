#include "cli/commands/wal.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "cli/context.h"
#include "common/backup/create.h"
#include "common/backup/offsite.h"
#include "common/backup/ownership.h"
#include "common/backup/physical/recover.h"
#include "common/backup/physical/wal_receiver.h"
#include "common/backup/physical/wal_server.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/periodic.h"
#include "common/base/signals.h"
#include "common/base/text.h"
#include "common/deployment/deployment.h"
#include "common/storage/location.h"
#include "common/systemd/service_manager.h"

namespace aragora::cli {

namespace {
namespace key = config::key;

// PostgreSQL takes 1 to 125 for "not there" and ends the recovery as if the log were complete; above, it stops.
constexpr int kNotThere = 1;
constexpr int kRealError = 200;

// For a copy that is under way when we are stopped; the next start goes on with it.
constexpr std::chrono::seconds kLastCopy{1};

struct ReceiveOptions {
  std::optional<std::string> output;
  std::optional<std::string> slot;
  std::optional<std::int64_t> seal_interval;
};

struct FileOptions {
  std::optional<std::string> output;
  std::optional<std::string> name;
  std::optional<std::string> path;
  std::optional<std::string> from;
};

backup::ArtifactOptions sealingOf(Context& context) {
  return backup::sealingOf(backup::createOptions(context.config(), context.target(), context.backupKeyring()));
}

void prepare(Context& context) {
  if (!context.config().usesPostgres())
    throw Error(Code::Config, "there is no write-ahead log to receive: the database is SQLite", "set DATABASE_URL");
  if (!context.config().production()) deployment::ensureGeneratedSecrets(context.config());
}

// Without a base backup that it follows on the log is worth nothing. Made in a thread of its own: the log must not
// wait, nor the watchdog. One that is being made when we are stopped is given up: the next start makes one.
class BaseMaker {
 public:
  BaseMaker(Context& context, fs::path directory, interrupt::Switch stop)
      : stop_(std::move(stop)),
        options_(backup::createOptions(context.config(), context.target(), context.backupKeyring())),
        offsite_(storage::offsite(context.config())) {
    options_.directory = std::move(directory);
    options_.kind = backup::Kind::Base;
    options_.lock_wait = kLookAgain;
  }
  ~BaseMaker() { stop_.turn(); }
  void start() {
    if (!running_.exchange(true)) thread_ = std::jthread([this] { make(); });
  }
  // Once there is log: does the newest base backup lead into it?
  void startIfNothingLeadsToTheLog(const backup::WalArchive& archive, const backup::WalStatus& status) {
    // One that is being made will lead there; one that has just been made is seen.
    if (running_ || std::chrono::steady_clock::now() < look_at_ || archive.pieces(status.timeline).empty()) return;
    look_at_ = deadlineIn(kLookAgain);
    const auto window = backup::recoveryWindow(options_.directory, *options_.keyring);
    if (window && !window->gap) return;
    log::warning("no base backup leads to the log that is received; making one");
    start();
  }

 private:
  void make() {
    const interrupt::Minding minding(stop_);
    try {
      log::warning("made base backup {}", backup::createBackup(options_).id);
      if (offsite_)
        backup::OffsiteCopy(options_.directory, *offsite_, *options_.keyring).copyBackups(options_.lock_wait);
    } catch (const std::exception& error) {  // the thread's boundary
      if (stop_.turned())
        log::warning("the base backup that was being made is given up; the next start makes one");
      else
        log::error("the base backup that recovery needs failed: {}; run: aragora backup create --kind base",
                   error.what());
    }
    running_ = false;
  }

  const interrupt::Switch stop_;
  backup::CreateOptions options_;
  std::optional<storage::Place> offsite_;
  Deadline look_at_{};
  std::atomic<bool> running_{false};
  std::jthread thread_;
  static constexpr std::chrono::minutes kLookAgain{10};
};

// In a thread of its own: a store that does not answer must not keep the log waiting. nullptr without a place.
std::unique_ptr<Periodic> copyElsewhere(Context& context, const ReceiveOptions& options, const fs::path& directory,
                                        const backup::ArtifactOptions& sealing) {
  const auto place = storage::offsite(context.config());
  if (!place) return nullptr;
  const auto interval = options.seal_interval.value_or(context.config().integer(key::kSealInterval));
  if (interval < 1) throw Error(Code::Usage, "--seal-interval takes 1 or more seconds");
  auto copying = std::make_shared<backup::OffsiteCopy>(directory, *place, context.backupKeyring());
  log::info("copying to {} every {} s", place->describe(), interval);
  return std::make_unique<Periodic>(
      std::chrono::seconds(interval), [copying, sealing] { copying->copyLog(sealing); },
      [](const std::string& reason) { log::error("the log is not copied elsewhere: {}; trying again", reason); },
      kLastCopy);
}

// Before the first byte is written. The log of another cluster is refused by what it says itself.
void claimDirectory(Context& context, const fs::path& directory) {
  std::optional<std::string> ours;
  try {
    ours = backup::instanceOf(context.target());
  } catch (const Error& error) {
    log::warning("whose backups {} holds was not compared: {}", directory.string(), error.what());
  }
  if (ours) backup::claimPlace(directory, *ours);
}

int receive(Context& context, const ReceiveOptions& options) {
  prepare(context);
  const auto directory = context.backupDirectory(options.output);
  claimDirectory(context, directory);
  backup::WalArchive archive(directory / "wal", context.backupKeyring());
  backup::ReceiverOptions how;
  how.target = context.target();
  how.slot = options.slot.value_or("aragora");
  how.artifact = sealingOf(context);
  ::signal(SIGHUP, SIG_IGN);  // what it was started with is what it works with: there is nothing to read again
  const interrupt::Switch stop;
  const Signals signals({SIGTERM, SIGINT}, [stop](int) { stop.turn(); });
  BaseMaker base(context, directory, stop);
  bool ready = false;
  how.events.status = [&](const backup::WalStatus& status) {
    const auto line = status.problem.empty() ? fmt::format("on disk through {}, timeline {}",
                                                           backup::formatLsn(status.flushed), status.timeline)
                                             : status.problem;
    if (!ready && status.problem.empty()) {
      ready = true;
      systemd::notifyReady(line);
      log::info("receiving the log of {} into {}", database::describe(how.target), archive.directory().describe());
    }
    systemd::notifyStatus(line);
    systemd::notifyWatchdog();
    if (ready) base.startIfNothingLeadsToTheLog(archive, status);
    if (status.slot_state == backup::SlotState::Unreserved)
      log::warning("the server is about to drop the log that slot {} needs ({} kept)", how.slot,
                   humanBytes(static_cast<std::uint64_t>(status.retained_bytes)));
  };
  how.events.retry = [](const std::string& reason) { log::warning("{}; trying again", reason); };
  how.events.gap = [&](const std::string&) { base.start(); };
  const auto copying = copyElsewhere(context, options, directory, how.artifact);
  backup::receiveWal(archive, how, stop);
  systemd::notifyStopping();
  log::info("stopped; everything received is on disk");
  return 0;
}

// Also without a receiver it is known how far the log has to reach; of the time of its commits nothing is.
void confirmPushed(const backup::WalArchive& archive, const std::string& name) {
  const auto segment = backup::parseSegmentName(name, archive.segmentSize());
  if (!segment) return;
  const auto end = (segment->number + 1) * archive.segmentSize();
  const auto known = archive.confirmed(segment->timeline);
  if (!known || known->flushed < end) archive.confirm({segment->timeline, end, 0, nowMicros(), {}});
}

// The first page of every segment names its cluster: XLogLongPageHeaderData in access/xlog_internal.h, in the byte
// order of the machine.
std::string clusterOf(const fs::path& segment) {
  constexpr std::size_t kAt = 24;
  const auto fd = openForReading(segment);
  std::uint64_t identifier = 0;
  if (::pread(fd.get(), &identifier, sizeof identifier, kAt) != sizeof identifier)
    throw Error(Code::Damaged, fmt::format("{} is no segment of the log", segment.string()), "pass %p");
  return fmt::format("{}", identifier);
}

int push(Context& context, const FileOptions& options) {
  prepare(context);
  if (!options.path)
    throw Error(Code::Usage, "wal-push needs the file", "archive_command = 'aragora backup wal-push %p'");
  const auto path = fs::path(*options.path);
  const auto name = path.filename().string();
  const auto directory = context.backupDirectory(options.output);
  backup::WalArchive archive(directory / "wal", context.backupKeyring());
  if (archive.segmentSize() == 0) {
    claimDirectory(context, directory);
    const auto connection = database::connect(context.target());
    const auto row = connection->query(
        "SELECT system_identifier::text, (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') "
        "FROM "
        "pg_control_system()",
        {})[0];
    archive.claim(row.text(0), static_cast<std::uint64_t>(row.integer(1)));
  }
  // Labels of base backups that PostgreSQL archives too; ours hold theirs.
  if (name.size() > 24 && name.ends_with(".backup")) return 0;
  if (!backup::parseSegmentName(name, archive.segmentSize()) && !backup::isHistoryName(name) &&
      !name.ends_with(".partial"))
    throw Error(Code::Usage, fmt::format("{} is no file of the log", printable(name, 60)), "pass %p");
  if (name.ends_with(".partial")) return 0;  // of a timeline that was left; the segment is on the new one
  if (!backup::isHistoryName(name)) archive.claim(clusterOf(path), archive.segmentSize());
  const auto sealing = sealingOf(context);
  if (const auto segment = backup::parseSegmentName(name, archive.segmentSize())) archive.begin(segment->timeline);
  archive.seal(name, path, sealing);
  confirmPushed(archive, name);
  try {
    if (const auto place = storage::offsite(context.config()))
      backup::OffsiteCopy(archive.directory().path().parent_path(), *place, context.backupKeyring()).copyLog(sealing);
  } catch (const Error& error) {
    // It is safe here; the next file and every backup try again.
    log::warning("the log is not copied elsewhere: {}", error.what());
  }
  return 0;
}

bool fetch(Context& context, const FileOptions& options) {
  if (!options.name || !options.path)
    throw Error(Code::Usage, "usage: aragora restore wal-get NAME DESTINATION",
                "restore_command = 'aragora restore wal-get %f %p'");
  const auto from = options.from ? fs::path(*options.from) : context.config().backupDirectory() / "wal";
  try {
    if (fs::is_socket(from)) return backup::fetchFromWalServer(from, *options.name, *options.path);
    if (!fs::is_directory(from))
      throw Error(Code::Config, fmt::format("there is no archive at {}", from.string()), "name it with --from");
    return backup::WalArchive(from, context.backupKeyring()).fetch(*options.name, *options.path);
  } catch (const Error& error) {
    // What the archive lacks may have come with the base backup, where the server looks next.
    const auto in_place = fs::path(*options.path).parent_path() / *options.name;
    if (error.code() == Code::NoInput && fs::exists(in_place)) return false;
    throw;
  }
}

int get(Context& context, const FileOptions& options) {
  try {
    const bool found = fetch(context, options);
    context.out().document({{"name", *options.name}, {"found", found}});
    return found ? 0 : kNotThere;
  } catch (const Error& error) {
    // Whatever it is: recovery must stop here instead of opening a database that lacks its end.
    context.out().document({{"exit_status", kRealError}});
    context.out().error(Error(error.code(),
                              fmt::format("wal-get {}: {}", printable(options.name.value_or(""), 60), error.what()),
                              error.hint()));
  } catch (const std::exception& error) {
    context.out().error(Error(Code::Internal, std::string("wal-get: ") + error.what()));
  }
  return kRealError;
}
}  // namespace

void declareWalReceive(CommandLine line) {
  auto options = std::make_shared<ReceiveOptions>();
  line.option("--output", options->output, "Directory of the backups (default backup.directory)", directory())
      .option("--slot", options->slot, "Replication slot (default aragora; made when missing)")
      .option("--seal-interval", options->seal_interval,
              "Seconds between copies to backup.offsite (default backup.seal_interval_seconds)");
  line.run([options](Context& context) { return receive(context, *options); });
}

void declareWalPush(CommandLine line) {
  auto options = std::make_shared<FileOptions>();
  line.option("--output", options->output, "Directory of the backups (default backup.directory)", directory())
      .positional("file", options->path, "The complete file: %p of archive_command", file());
  line.run([options](Context& context) { return push(context, *options); });
}

void declareWalGet(CommandLine line) {
  auto options = std::make_shared<FileOptions>();
  line.positional("name", options->name, "%f of restore_command")
      .positional("destination", options->path, "%p of restore_command", file())
      .option("--from", options->from, "The archive (default wal in backup.directory)", place());
  line.run([options](Context& context) { return get(context, *options); });
}

}  // namespace aragora::cli
