#include <signal.h>

#include <chrono>

#include "cli/commands/commands.h"
#include "cli/commands/wal.h"
#include "common/backup/continuous.h"
#include "common/backup/create.h"
#include "common/backup/physical/recover.h"
#include "common/backup/prune.h"
#include "common/backup/verify_backup.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/deployment/deployment.h"
#include "common/systemd/service_manager.h"

namespace aragora::cli {

namespace {
namespace key = config::key;

struct Options {
  std::optional<std::string> output;
  std::optional<std::string> input;
  std::optional<std::string> max_rate;
  std::optional<std::string> kind;
  std::optional<std::int64_t> level;
  std::optional<std::int64_t> days;
  std::optional<std::int64_t> interval;
  bool dry_run = false;
};

const std::vector<std::string> kKinds = {"full", "base"};

std::string kindOf(const Options& options) {
  const auto kind = options.kind.value_or("full");
  if (std::find(kKinds.begin(), kKinds.end(), kind) == kKinds.end())
    throw Error(Code::Usage, fmt::format("--kind {} is unknown", printable(kind, 20)), "use full or base");
  return kind;
}

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

json::object describe(const backup::Entry& entry) {
  json::object object{
      {"id", entry.id}, {"path", entry.directory.string()}, {"good", entry.good()}, {"proven", entry.proven()}};
  if (!entry.problem.empty()) object["problem"] = entry.problem;
  if (entry.manifest) {
    object["kind"] = entry.manifest->kind;
    object["engine"] = entry.manifest->engine;
    object["finished_at"] = toIso(entry.manifest->finished_at);
    object["bytes"] = entry.manifest->storedSize();
    object["migration_version"] = entry.manifest->migration_version;
    object["key_id"] = entry.manifest->key_id;
  }
  if (!entry.verifications.empty()) {
    const auto& last = entry.verifications.back();
    object["last_verification"] =
        json::object{{"level", last.level}, {"ok", last.ok}, {"at", toIso(last.at)}, {"message", last.message}};
  }
  return object;
}

backup::CreateOptions createOptions(Context& context, const Options& options) {
  auto& config = context.config();
  if (!config.production()) deployment::ensureGeneratedSecrets(config);
  backup::CreateOptions how;
  how.directory = context.backupDirectory(options.output);
  how.kind = kindOf(options);
  how.target = context.target();
  how.keyring = &context.keyring();
  how.extra_recipients = config.list(key::kBackupRecipients);
  how.compression_level = static_cast<int>(config.integer(key::kBackupCompression));
  how.max_rate = options.max_rate ? bytesPerSecond(*options.max_rate) : 0;
  how.config = &config;
  how.tool_version = kVersion;
  return how;
}

std::atomic<bool> stopped{false};

int runAll(Context& context, const Options& options) {
  backup::ContinuousOptions how;
  how.create = createOptions(context, options);
  how.interval = std::chrono::seconds(options.interval.value_or(context.config().integer(key::kBackupInterval)));
  if (how.interval < std::chrono::seconds(1)) throw Error(Code::Usage, "--interval takes 1 or more seconds");
  how.full_every = std::chrono::hours(context.config().integer(key::kBackupEveryHours));
  how.on_message = [](const std::string& message) { log::info("{}", message); };
  how.on_failure = [](const std::string& reason) { log::error("{}; tried again after the interval", reason); };
  how.on_alive = [] { systemd::notifyWatchdog(); };
  struct sigaction action {};
  action.sa_handler = [](int) { stopped = true; };
  for (const int number : {SIGTERM, SIGINT}) ::sigaction(number, &action, nullptr);
  systemd::notifyReady("saving what changes");
  backup::runContinuously(how, stopped);
  systemd::notifyStopping();
  return 0;
}

int create(Context& context, const Options& options) {
  const auto& out = context.out();
  auto how = createOptions(context, options);
  std::uint64_t shown = 0;
  how.on_progress = [&](std::uint64_t bytes) {
    if (bytes - shown < (8U << 20)) return;
    shown = bytes;
    out.progress(fmt::format("backing up: {}", humanBytes(bytes)));
  };
  const auto started = std::chrono::steady_clock::now();
  const auto entry = backup::createBackup(how);
  out.endProgress();
  const auto& manifest = *entry.manifest;
  std::int64_t rows = 0;
  for (const auto& table : manifest.tables) rows += table.rows;
  const auto content = manifest.physical ? fmt::format("a cluster as of {}", backup::formatLsn(manifest.physical->stop))
                                         : fmt::format("{} tables, {} rows", manifest.tables.size(), rows);
  out.marked(
      Mark::Ok,
      fmt::format("{}: {} of {} in {} ({})", entry.id, humanBytes(manifest.storedSize()),
                  humanBytes(manifest.file("database")->plain_size),
                  humanDuration(std::chrono::milliseconds(static_cast<std::int64_t>(secondsSince(started) * 1000))),
                  content));
  out.line(fmt::format("  {}\n  prove it with: aragora backup verify --input {}", entry.directory.string(),
                       entry.manifest->physical ? entry.id : (how.directory / "latest").string()));
  out.document({{"backup", describe(entry)}});
  return 0;
}

int list(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto directory = context.backupDirectory(options.output);
  json::array array;
  std::vector<backup::Entry> entries;
  for (const auto& kind : kKinds) {
    for (auto& entry : backup::Repository(directory, kind).list()) entries.push_back(std::move(entry));
  }
  for (const auto& entry : entries) {
    array.push_back(describe(entry));
    if (!entry.manifest || !entry.problem.empty()) {
      out.marked(Mark::Failure, fmt::format("{}  {}", entry.id, entry.problem));
      continue;
    }
    const auto state = entry.proven()                ? "proven by restore"
                       : entry.verifications.empty() ? "not verified"
                       : entry.verifications.back().ok
                           ? fmt::format("verified to level {}", entry.verifications.back().level)
                           : "FAILED verification";
    out.marked(entry.good() ? Mark::Ok : Mark::Failure,
               fmt::format("{}  {:>9}  {}  {}  {}", entry.id, humanBytes(entry.manifest->storedSize()),
                           entry.manifest->kind, entry.manifest->engine, state));
  }
  if (entries.empty()) out.line(fmt::format("No backups in {}", directory.string()));
  out.document({{"directory", directory.string()}, {"backups", array}});
  return 0;
}

// Between which moments the cluster can be recovered; null when nothing physical was ever stored.
json::value showRecoveryWindow(Context& context, const fs::path& directory) {
  const auto& out = context.out();
  std::error_code ignored;
  if (!fs::exists(directory / "wal", ignored)) return nullptr;
  const auto window = backup::recoveryWindow(directory, context.keyring());
  const auto wal = backup::WalArchive(directory / "wal", context.keyring()).readStatus();
  if (!window) {
    out.marked(Mark::Failure,
               "Recovery to a moment: not possible, there is no base backup\n    → aragora backup create --kind base");
    return nullptr;
  }
  const auto through =
      window->through ? toIso(*window->through) : fmt::format("position {}", backup::formatLsn(window->end));
  out.marked(window->gap ? Mark::Failure : Mark::Ok,
             fmt::format("Recovery to a moment: {} through {}{}", toIso(window->from), through,
                         window->gap ? ", where the log has a gap" : ""));
  if (wal) {
    const auto silent = std::chrono::milliseconds((nowMicros() - wal->updated_at) / 1000);
    const bool stale = silent > std::chrono::seconds(30) || !wal->problem.empty();
    out.marked(stale ? Mark::Failure : Mark::Ok,
               fmt::format("Log receiver: {}",
                           stale ? fmt::format("nothing since {}{}{}", toIso(wal->updated_at),
                                               wal->problem.empty() ? "" : ": ", wal->problem)
                                 : fmt::format("on disk through {}, slot {} {}", backup::formatLsn(wal->flushed),
                                               wal->slot, wal->slot_state)));
  }
  return json::object{
      {"base", window->base},
      {"from", toIso(window->from)},
      {"through", window->through ? json::value(toIso(*window->through)) : json::value(nullptr)},
      {"end", backup::formatLsn(window->end)},
      {"gap", window->gap},
      {"receiver_updated_at", wal ? json::value(toIso(wal->updated_at)) : json::value(nullptr)},
      {"receiver_problem", wal && !wal->problem.empty() ? json::value(wal->problem) : json::value(nullptr)}};
}

int status(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto directory = context.backupDirectory(options.output);
  const auto entries = backup::Repository(directory).list();
  const backup::Entry* newest = nullptr;
  const backup::Entry* proven = nullptr;
  std::size_t bad = 0;
  for (const auto& entry : entries) {
    if (entry.good())
      newest = &entry;
    else
      ++bad;
    if (entry.proven()) proven = &entry;
  }
  const auto hours = context.config().integer(key::kBackupEveryHours);
  const auto age = [](const backup::Entry* entry) {
    return std::chrono::milliseconds((nowMicros() - entry->manifest->finished_at) / 1000);
  };
  const bool late = newest == nullptr || age(newest) > std::chrono::hours(hours) * 3 / 2;
  out.marked(late ? Mark::Failure : Mark::Ok, newest == nullptr
                                                  ? "Newest good backup: none"
                                                  : fmt::format("Newest good backup: {} ({} ago, schedule every {} h)",
                                                                newest->id, humanDuration(age(newest)), hours));
  out.marked(proven == nullptr ? Mark::Warning : Mark::Ok,
             proven == nullptr
                 ? "Newest proven backup: none\n    → aragora backup verify"
                 : fmt::format("Newest proven backup: {} ({} ago)", proven->id, humanDuration(age(proven))));
  const auto window = showRecoveryWindow(context, directory);
  if (bad > 0) out.marked(Mark::Failure, fmt::format("{} backups are not good: see aragora backup list", bad));
  out.document({{"directory", directory.string()},
                {"count", entries.size()},
                {"not_good", bad},
                {"newest_good", newest != nullptr ? json::value(describe(*newest)) : json::value(nullptr)},
                {"newest_proven", proven != nullptr ? json::value(describe(*proven)) : json::value(nullptr)},
                {"recovery_window", window},
                {"late", late}});
  return late || bad > 0 ? info(Code::CheckFailed).exit_status : 0;
}

// An id is looked for among the full backups first.
std::pair<backup::Repository, backup::Entry> findAnyKind(const fs::path& directory, const std::string& input) {
  std::error_code ignored;
  const bool base = input == "latest-base" || fs::is_directory(directory / "base" / input, ignored);
  backup::Repository repository(directory, base ? "base" : "full");
  auto entry = repository.resolve(input);
  return {std::move(repository), std::move(entry)};
}

int verifyOne(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto [repository, entry] =
      findAnyKind(context.backupDirectory(options.output), options.input.value_or("latest"));
  const auto level = options.level.value_or(2);
  if (level < 0 || level > 2) throw Error(Code::Usage, "--level takes 0, 1 or 2");
  backup::VerifyOptions how{static_cast<int>(level), &context.keyring(), std::nullopt, {}};
  if (context.config().usesPostgres()) how.postgres = context.target();
  // What is found is kept beside the backup, when the backup is one of the repository's own.
  std::error_code ignored;
  const bool own = fs::equivalent(entry.directory.parent_path().parent_path(), repository.directory(), ignored);
  const auto record = [&, &repository = repository, &entry = entry](bool good, const std::string& message) {
    if (own) repository.recordVerification(entry.id, {how.level, good, nowMicros(), message});
  };
  try {
    const auto report = backup::verifyBackup(entry, how);
    record(true, report.message);
    out.marked(Mark::Ok, fmt::format("{}: {} ({:.1f} s)", report.id, report.message, report.seconds));
    out.document({{"id", report.id},
                  {"verified", true},
                  {"level", report.level},
                  {"message", report.message},
                  {"seconds", report.seconds}});
    return 0;
  } catch (const Error& error) {
    if (error.code() == Code::Damaged) record(false, error.what());
    throw;
  }
}

// Shows the plan and, unless it is a dry run, executes it; answers why nothing may be removed, if so.
std::string carryOut(const Output& out, const backup::Repository& repository, const backup::PrunePlan& plan,
                     bool dry_run, json::array& items) {
  for (const auto& item : plan.items) {
    items.push_back(json::object{{"id", item.entry.id}, {"remove", item.remove}, {"reason", item.reason}});
    out.marked(item.remove ? Mark::Ok : Mark::Info,
               fmt::format("{}  {}{}", item.entry.id, dry_run && item.remove ? "would be " : "", item.reason));
  }
  if (!dry_run) backup::executePrune(repository, plan);
  return plan.refusal;
}

// Log that no base backup needs any more.
std::size_t pruneLog(Context& context, const fs::path& directory) {
  std::optional<backup::PhysicalRecord> oldest;
  for (const auto& entry : backup::Repository(directory, "base").list()) {
    if (!entry.manifest || !entry.manifest->physical) return 0;  // one that cannot be read may need all of it
    if (!oldest) oldest = entry.manifest->physical;
  }
  const backup::WalArchive archive(directory / "wal", context.keyring());
  const auto size = archive.segmentSize();
  return oldest && size > 0 ? archive.removeBefore({oldest->timeline, oldest->start / size}) : 0;
}

int prune(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto directory = context.backupDirectory(options.output);
  const auto days = options.days.value_or(context.config().integer(key::kBackupRetentionDays));
  if (days < 1) throw Error(Code::Usage, "--days takes 1 or more");
  const backup::Repository full(directory);
  const backup::Repository base(directory, "base");
  const auto full_plan = backup::planPrune(full.list(), days, nowMicros());
  const auto base_plan = backup::planPruneBases(
      base.list(), options.days.value_or(context.config().integer(key::kBackupLogDays)), nowMicros());
  json::array items;
  auto refusal = carryOut(out, full, full_plan, options.dry_run, items);
  if (!base_plan.items.empty()) {
    const auto refused = carryOut(out, base, base_plan, options.dry_run, items);
    if (refusal.empty()) refusal = refused;
  }
  const auto segments = options.dry_run || !base_plan.refusal.empty() ? 0 : pruneLog(context, directory);
  if (segments > 0) out.marked(Mark::Ok, fmt::format("{} files of log removed: no base backup needs them", segments));
  out.document({{"dry_run", options.dry_run}, {"items", items}, {"log_files", segments}, {"refusal", refusal}});
  if (!refusal.empty()) {
    throw Error(Code::CheckFailed, fmt::format("nothing was removed: {}", refusal),
                "make a new backup and verify it first");
  }
  return 0;
}
}  // namespace

void declareBackup(CommandLine line) {
  auto options = std::make_shared<Options>();
  const auto runs = [options](int (*function)(Context&, const Options&)) {
    return [options, function](Context& context) { return function(context, *options); };
  };
  line.option("--output", options->output, "Directory of the backups (default backup.directory)")
      .option("--max-rate", options->max_rate, "Write at most this many bytes a second, such as 20M");
  line.run(runs(create));
  line.subcommand("create", "Make a backup")
      .option("--kind", options->kind,
              "full (default), or base: the whole PostgreSQL cluster, for recovery to a moment")
      .run(runs(create));
  line.subcommand("run", "Make backups until stopped: full ones on schedule, for SQLite increments in between")
      .option("--interval", options->interval, "Seconds between increments (default backup.interval_seconds)")
      .run(runs(runAll));
  declareWalReceive(line.subcommand("wal", "Receive PostgreSQL's write-ahead log until stopped"));
  declareWalPush(
      line.subcommand("wal-push", "Store one file of the log: archive_command = 'aragora backup wal-push %p'"));
  line.subcommand("list", "List backups with their state").run(runs(list));
  line.subcommand("status", "Newest good and proven backup; exit 1 when late").run(runs(status));
  auto verify_line = line.subcommand("verify", "Prove a backup; level 2 restores it into scratch");
  verify_line.option("--input", options->input, "A path, an id, or latest (default)")
      .option("--level", options->level, "0 digests, 1 structure, 2 restore (default)")
      .run(runs(verifyOne));
  auto prune_line = line.subcommand("prune", "Remove backups past retention");
  prune_line.option("--days", options->days, "Retention in days (default backup.retention_days)")
      .flag("--dry-run", options->dry_run, "Only show the plan")
      .run(runs(prune));
}

}  // namespace aragora::cli
