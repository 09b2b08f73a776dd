#include "cli/commands/backup.h"

#include "cli/audit_trail.h"
#include "cli/notices.h"

#include <chrono>

#include "cli/commands/commands.h"
#include "cli/commands/wal.h"
#include "cli/output/shown_progress.h"
#include "common/backup/continuous.h"
#include "common/backup/elsewhere.h"
#include "common/base/log.h"
#include "common/base/signals.h"
#include "common/base/text.h"
#include "common/deployment/deployment.h"
#include "common/systemd/service_manager.h"

namespace aragora::cli {

namespace {
namespace key = config::key;
using backups::Options;

std::uint64_t bytesPerSecond(const std::string& text) {
  const auto units = std::string_view("kMG");
  const auto unit = text.empty() ? std::string_view::npos : units.find(text.back());
  const auto number = parseInteger(unit == std::string_view::npos ? std::string_view(text)
                                                                  : std::string_view(text).substr(0, text.size() - 1));
  if (!number || *number < 1)
    throw Error(Code::Usage, fmt::format("--max-rate {} is not a rate", printable(text, 20)),
                "write bytes a second, such as 20M");
  std::uint64_t factor = 1;
  for (std::size_t i = 0; unit != std::string_view::npos && i <= unit; ++i) factor *= 1000;
  return static_cast<std::uint64_t>(*number) * factor;
}

backup::CreateOptions createOptions(Context& context, const Options& options) {
  auto& config = context.config();
  if (!config.production()) deployment::ensureGeneratedSecrets(config);
  auto how = backup::createOptions(config, context.target(), context.backupKeyring());
  how.directory = context.backupDirectory(options.output);
  if (options.kind) how.kind = *backup::parseKind(*options.kind);
  how.lock_wait = backups::lockWait(options);
  how.max_rate = options.max_rate ? bytesPerSecond(*options.max_rate) : 0;
  return how;
}

}  // namespace

std::chrono::seconds backups::lockWait(const Options& options) {
  const auto wait = options.wait.value_or(600);
  if (wait < 0) throw Error(Code::Usage, "--wait takes 0 or more seconds");
  return std::chrono::seconds(wait);
}

namespace {
constexpr std::chrono::seconds kLastCopy{1};  // what it leaves is copied after the next start

int runAll(Context& context, const Options& options) {
  backup::ContinuousOptions how;
  how.create = createOptions(context, options);
  how.interval = std::chrono::seconds(options.interval.value_or(context.config().integer(key::kBackupInterval)));
  if (how.interval < std::chrono::seconds(1)) throw Error(Code::Usage, "--interval takes 1 or more seconds");
  how.policy = backup::policyOf(context.config());
  how.offsite = storage::offsite(context.config());
  how.on_message = [](const std::string& message) { log::info("{}", message); };
  how.on_failure = [](const std::string& reason) { log::error("{}; tried again after the interval", reason); };
  how.on_alive = [] { systemd::notifyWatchdog(); };
  how.last_copy = kLastCopy;
  const interrupt::Switch stop;
  const Signals signals({SIGTERM, SIGINT}, [stop](int) { stop.turn(); });
  systemd::notifyReady("saving what changes");
  backup::runContinuously(how, stop);
  systemd::notifyStopping();
  return 0;
}

void show(const Output& out, const backup::Entry& entry, double seconds) {
  const auto& manifest = *entry.manifest;
  std::int64_t rows = 0;
  std::uint64_t plain = 0;
  for (const auto& table : manifest.tables) rows += table.rows;
  for (const auto& file : manifest.files) plain += file.plain_size;
  const auto content = manifest.physical ? fmt::format("a cluster as of {}", backup::formatLsn(manifest.physical->stop))
                       : manifest.kind == backup::Kind::Configuration
                           ? std::string("the settings")
                           : fmt::format("{}, {}", counted(manifest.tables.size(), "table"), counted(rows, "row"));
  out.marked(Mark::Ok, fmt::format("{}: {} of {} in {} ({})", entry.id, humanBytes(manifest.storedSize()),
                                   humanBytes(plain), humanDuration(seconds), content));
}

// The copy elsewhere, when one is configured.
void copyElsewhere(Context& context, const fs::path& directory, std::chrono::seconds lock_wait) {
  const auto place = storage::offsite(context.config());
  if (!place) return;
  ShownProgress shown(context.out(), "backup");
  backup::OffsiteCopy copying(directory, *place, context.backupKeyring());
  copying.showTo(shown.get());
  auto report = copying.copyBackups(lock_wait);
  try {
    const auto log = copying.copyLog(
        backup::sealingOf(backup::createOptions(context.config(), context.target(), context.backupKeyring())));
    report.files += log.files;
    report.bytes += log.bytes;
  } catch (const Error& error) {
    if (error.code() != Code::Busy) throw;  // the receiver does it
  }
  if (report.backups + report.files > 0)
    context.out().line(fmt::format("  copied to {}: {} and {} more, {}", place->describe(),
                                   counted(report.backups, "backup"), counted(report.files, "file"),
                                   humanBytes(report.bytes)));
  if (!report.refused.empty())
    throw Error(Code::Damaged,
                fmt::format("{} {} not copied: {}", counted(report.refused.size(), "backup"),
                            agreeing(report.refused.size(), "was", "were"), report.refused[0]),
                "see: aragora backup list");
}

int create(Context& context, const Options& options) {
  const auto& out = context.out();
  auto how = createOptions(context, options);
  // Before it, so that it is in the backup. What a timer finds due stands in the manifests.
  if (!options.due)
    record(context, "backup.create", "place:" + how.directory.string(), {{"kind", backup::name(how.kind)}}, "begun");
  auto shown = std::make_unique<ShownProgress>(out, "backup");
  how.progress = shown->get();
  const auto started = std::chrono::steady_clock::now();
  std::vector<backup::Entry> made;
  if (options.due)
    made = backup::createWhatIsDue(how, backup::policyOf(context.config()));
  else
    made.push_back(backup::createBackup(how));
  shown.reset();
  json::array array;
  for (const auto& entry : made) {
    show(out, entry,
         made.size() == 1 ? secondsSince(started)
                          : static_cast<double>(entry.manifest->finished_at - entry.manifest->started_at) / 1e6);
    array.push_back(backups::describe(entry));
  }
  if (made.empty()) out.line("Nothing is due.");
  if (made.size() == 1)
    out.line(
        fmt::format("  {}\n  prove it with: aragora backup verify --input {}", made[0].directory.describe(),
                    made[0].manifest->kind == backup::Kind::Full ? (how.directory / "latest").string() : made[0].id));
  json::object document{{"backups", array}};
  if (made.size() == 1) document["backup"] = backups::describe(made[0]);
  out.document(document);
  copyElsewhere(context, how.directory, how.lock_wait);
  return 0;
}

int markPlace(Context& context, const storage::Place& place) {
  const bool made = backup::initElsewhere(place);
  context.out().marked(Mark::Ok, fmt::format("{} {} for the copies; now: aragora backup copy", place.describe(),
                                             made ? "is marked" : "was marked already"));
  context.out().document({{"place", place.describe()}, {"marked", made}});
  return 0;
}

int copy(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto directory = context.backupDirectory(options.output);
  const auto place = storage::offsite(context.config());
  if (!place)
    throw Error(Code::Config, "no place elsewhere is configured",
                "set ARAGORA_OFFSITE to s3://bucket/prefix or the path of a mounted directory");
  if (options.init) return markPlace(context, *place);
  backup::OffsiteCopy copying(directory, *place, context.backupKeyring());
  if (options.again) copying.writeEverythingAgain();
  auto shown = std::make_unique<ShownProgress>(out, "backup");
  copying.showTo(shown->get());
  const auto report = copying.copyBackups(backups::lockWait(options));
  backup::CopyReport log;
  bool receiver = false;
  try {
    log = copying.copyLog(backup::sealingOf(createOptions(context, options)));
  } catch (const Error& error) {
    if (error.code() != Code::Busy) throw;
    receiver = true;  // it copies the log as it comes
  }
  shown.reset();
  out.marked(report.refused.empty() ? Mark::Ok : Mark::Failure,
             fmt::format("{}: {} and {} more, {}{}", place->describe(), counted(report.backups, "backup"),
                         counted(report.files + log.files, "file"), humanBytes(report.bytes + log.bytes),
                         receiver ? "; the log is copied by its receiver" : ""));
  for (const auto& refused : report.refused) out.marked(Mark::Failure, "not copied: " + refused);
  json::array refused;
  for (const auto& line : report.refused) refused.push_back(json::string(line));
  out.document({{"place", place->describe()},
                {"backups", report.backups},
                {"files", report.files + log.files},
                {"bytes", report.bytes + log.bytes},
                {"log_copied_by_receiver", receiver},
                {"refused", refused}});
  return report.refused.empty() ? 0 : info(Code::Damaged).exit_status;
}
}  // namespace

void declareBackup(CommandLine line) {
  auto options = std::make_shared<Options>();
  const auto runs = [options](int (*function)(Context&, const Options&)) {
    return [options, function](Context& context) { return function(context, *options); };
  };
  const auto tells = [options](Job job, int (*function)(Context&, const Options&)) {
    return [options, job = std::move(job), function](Context& context) {
      return watched(context, job, [&] { return function(context, *options); });
    };
  };
  const Job creating{notify::Kind::Backup, "aragora backup create", notify::Channel::BackupPing};
  const Job proving{notify::Kind::Proof, "aragora backup verify", notify::Channel::BackupPing, false};
  const char* from = "Read them there instead: offsite, s3://bucket/prefix, or a directory";
  line.option("--output", options->output, "Directory of the backups (default backup.directory)", directory())
      .option("--max-rate", options->max_rate, "Write at most this many bytes a second, such as 20M")
      .option("--wait", options->wait, "Seconds to wait for another run to end (default 600)");
  line.run(tells(creating, create));
  auto create_line = line.subcommand("create", "Make a backup, and copy it elsewhere when backup.offsite is set");
  create_line
      .option("--kind", options->kind,
              "full (default); base: the whole PostgreSQL cluster, for recovery to a moment; configuration; artifacts",
              oneOf(backup::kindNames()))
      .flag("--due", options->due, "Everything that the schedule says is due now")
      .run(tells(creating, create));
  line.subcommand("run", "Make backups until stopped: what is due, and for SQLite increments in between")
      .option("--interval", options->interval, "Seconds between increments (default backup.interval_seconds)")
      .run(runs(runAll));
  declareWalReceive(line.subcommand("wal", "Receive PostgreSQL's write-ahead log until stopped"));
  declareWalPush(
      line.subcommand("wal-push", "Store one file of the log: archive_command = 'aragora backup wal-push %p'"));
  line.subcommand("copy", "Copy what is not yet at backup.offsite")
      .flag("--again", options->again, "Everything, also what is there already")
      .flag("--init", options->init, "Only mark the directory as the place for the copies, and make it if need be")
      .run(runs(copy));
  line.subcommand("list", "List backups with their state")
      .option("--from", options->from, from, place())
      .run(runs(backups::list));
  line.subcommand("status", "What could be recovered now, and what is due; exit 1 when something is late or missing")
      .run(runs(backups::status));
  auto verify_line = line.subcommand("verify", "Prove a backup; level 2 restores it into scratch");
  verify_line.option("--input", options->input, "A path, an id, or latest (default)", cli::backup())
      .flag("--every-kind", options->every_kind, "The newest of every kind that there is")
      .option("--level", options->level, "0 digests, 1 structure, 2 restore (default)")
      .option("--from", options->from, from, place())
      .run(tells(proving, backups::verify));
  auto prune_line = line.subcommand("prune", "Remove backups past retention, here and at backup.offsite");
  prune_line.option("--days", options->days, "Retention in days (default by kind: backup.*retention_days)")
      .flag("--dry-run", options->dry_run, "Only show the plan")
      .option("--yes-remove", options->yes_remove, "Exactly this many, as the refusal of an unusual run names them")
      .run(runs(backups::prune));
  line.subcommand("forget", "Take note that backups are gone, which verify and status miss")
      .option("--from", options->from, "Gone from there instead: offsite, s3://bucket/prefix, or a directory")
      .run(runs(backups::forget));
  line.subcommand("pin", "Keep a backup whatever its age")
      .option("--input", options->input, "Its id")
      .option("--reason", options->reason, "Why, for those who find it later")
      .run(runs(backups::pin));
  line.subcommand("unpin", "Leave a backup to retention again")
      .option("--input", options->input, "Its id")
      .run(runs(backups::unpin));
  line.subcommand("keygen", "Make a recovery key that is kept away from this machine")
      .option("--out", options->out, "File for the secret part, which must not exist (default standard output)", file())
      .run(runs(backups::keygen));
  line.subcommand("rekey", "Seal every backup for the keys and recipients of today; payloads stay as they are")
      .run(runs(backups::rekey));
}

}  // namespace aragora::cli
