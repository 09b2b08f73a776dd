#include "common/backup/restore.h"

#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "cli/commands/restore_configuration.h"
#include "cli/commands/wal.h"
#include "cli/output/shown_progress.h"
#include "common/backup/audit_notes.h"
#include "common/backup/ledger.h"
#include "common/backup/physical/recover.h"
#include "common/backup/replaced.h"
#include "common/base/log.h"
#include "common/base/moment.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::string> input;
  std::optional<std::string> to;
  std::optional<std::string> from;
  std::optional<std::string> target_time;
  std::optional<std::string> target_name;
  std::optional<std::string> target_lsn;
  std::optional<std::string> target_xid;
  std::optional<std::int64_t> target_timeline;
  std::optional<std::string> identity;
  bool configuration = false;
  bool latest = false;
  bool exclusive = false;
  bool accept_loss = false;
  bool verify = false;
  bool dry_run = false;
  bool yes = false;
};

// The one target that was named; nullopt for the restore of a logical backup.
std::optional<backup::RecoveryTarget> recoveryTarget(const Options& options) {
  using Goal = backup::RecoveryTarget::Kind;
  std::vector<backup::RecoveryTarget> named;
  if (options.target_time)
    named.push_back({Goal::Time, toExactIso(requireMoment("--target-time", *options.target_time))});
  if (options.target_name) named.push_back({Goal::Name, *options.target_name});
  if (options.target_lsn) named.push_back({Goal::Position, *options.target_lsn});
  if (options.target_xid) named.push_back({Goal::Xid, *options.target_xid});
  if (options.latest) named.push_back({Goal::Latest, {}});
  if (named.size() > 1) throw Error(Code::Usage, "only one target of recovery can be named");
  if (named.empty() && (options.exclusive || options.target_timeline))
    throw Error(Code::Usage, "--exclusive and --target-timeline go with a target of recovery",
                "name one: --target-time, --target-name, --target-lsn, --target-xid or --latest");
  if (options.target_timeline && (*options.target_timeline < 1 || *options.target_timeline > UINT32_MAX))
    throw Error(Code::Usage, "--target-timeline takes the number of a timeline", "see: aragora backup status");
  if (!named.empty()) named.front().exclusive = options.exclusive;
  return named.empty() ? std::nullopt : std::optional(named.front());
}

// SQLite: until when increments are applied. What only a log can do is refused, not left out.
Micros endOfIncrements(const Options& options, const backup::RecoveryTarget& target) {
  using Goal = backup::RecoveryTarget::Kind;
  if (target.kind != Goal::Time && target.kind != Goal::Latest)
    throw Error(Code::Usage, "a SQLite database is restored to a time or to the latest increment",
                "use --target-time or --latest");
  if (options.exclusive || options.target_timeline)
    throw Error(Code::Usage, "--exclusive and --target-timeline are for PostgreSQL's log",
                "leave them out; SQLite is restored to the last increment that is not later than --target-time");
  backup::requireWellFormed(target);
  return target.kind == Goal::Time ? *fromIso(target.value) : INT64_MAX;
}

// The newest full backup that is not later; its increments lead on.
backup::Entry fullBefore(Context& context, const storage::Place& directory, Micros until) {
  auto entries = backup::Repository(directory, &context.keyring()).list();
  std::erase_if(entries, [](const backup::Entry& entry) { return !entry.good(); });
  std::optional<backup::Entry> found;
  for (const auto& entry : entries) {
    if (entry.manifest->finished_at <= until) found = entry;
  }
  if (found) return *found;
  if (entries.empty())
    throw Error(Code::NoInput, fmt::format("there is no good backup in {}", directory.describe()),
                "make one with: aragora backup");
  throw Error(Code::NoInput,
              fmt::format("{} cannot be reached: the oldest good backup is of {}", toIso(until),
                          toIso(entries.front().manifest->finished_at)),
              "choose a later time");
}

// Whoever asks for the newest must not get an older one without a word.
void requireNothingNewer(Context& context, const storage::Place& directory, const Options& options) {
  if (options.input && fs::path(*options.input).filename() != "latest") return;
  if (options.input && options.input->find('/') != std::string::npos) return;  // a place of its own
  const auto& keyring = context.keyring();
  const auto told = backup::toldHeads(context.target(), directory, keyring);
  if (!told.failure.empty()) log::warning("{}", told.failure);
  const auto findings =
      backup::compareWithLedger(directory, backup::Kind::Full, backup::Repository(directory, &keyring).list(), keyring,
                                told.of(backup::Kind::Full));
  if (!options.accept_loss) return backup::requireNewest(findings);
  if (findings.newest) context.out().marked(Mark::Failure, "lost, as accepted: " + findings.problem);
}

// The full backup that a restore begins with.
backup::Entry chosen(Context& context, const storage::Place& directory, const Options& options,
                     std::optional<Micros> until) {
  if (!options.input) return fullBefore(context, directory, *until);
  auto entry = backup::Repository(directory, nullptr).resolve(*options.input);
  if (until && entry.manifest && entry.manifest->finished_at > *until)
    throw Error(Code::NoInput,
                fmt::format("{} cannot be reached from backup {}, which was made at {}", toIso(*until), entry.id,
                            toIso(entry.manifest->finished_at)),
                "leave --input out, or choose a later time");
  return entry;
}

backup::RecoverOptions howToRecover(Context& context, const Options& options, const backup::RecoveryTarget& target) {
  if (!options.to)
    throw Error(Code::Usage, "recovery needs --to DIRECTORY",
                "a directory that does not exist; the running cluster is not touched");
  backup::RecoverOptions how;
  how.directory = context.backups(std::nullopt, options.from);
  how.live = context.target();
  how.keyring = &context.keyring();
  how.target = target;
  how.base = options.input;
  if (options.target_timeline) how.timeline = static_cast<std::uint32_t>(*options.target_timeline);
  how.to = fs::absolute(*options.to);
  while (!how.to.has_filename() || how.to.filename() == ".") how.to = how.to.parent_path();  // «there/», «there/.»
  how.verify = options.verify;
  how.dry_run = options.dry_run;
  how.accept_loss = options.accept_loss;
  how.ask_server = !options.from;  // a copy elsewhere has less than the server was told
  return how;
}

json::array texts(const std::vector<std::string>& lines) {
  json::array array;
  for (const auto& line : lines) array.push_back(json::string(line));
  return array;
}

json::object describe(const backup::RecoverReport& report, bool dry_run) {
  const auto position = [](std::optional<backup::Lsn> at) {
    return at ? json::value(backup::formatLsn(*at)) : json::value(nullptr);
  };
  return {{"base", report.base},
          {"to", report.to},
          {"target", report.target},
          {"timeline", report.timeline},
          {"dry_run", dry_run},
          {"plan", texts(report.plan)},
          {"reached", backup::formatLsn(report.reached)},
          {"confirmed", position(report.promised)},
          {"losses", texts(report.losses)},
          {"notes", texts(report.notes)},
          {"last_commit", report.last_commit ? json::value(toIso(*report.last_commit)) : json::value(nullptr)},
          {"log_files", report.log_files},
          {"tablespaces", report.tablespaces},
          {"verified", texts(report.verified)},
          {"warnings", texts(report.warnings)},
          {"against", report.against.empty() ? json::value(nullptr) : json::value(report.against)},
          {"seconds", report.seconds}};
}

void showRecovered(const Output& out, const backup::RecoverReport& report) {
  out.marked(Mark::Ok, fmt::format("recovered to {} in {}: timeline {}, position {}, last commit {} ({}: unpacked "
                                   "in {}, {} of log in {})",
                                   report.target, report.to, report.timeline, backup::formatLsn(report.reached),
                                   report.last_commit ? toIso(*report.last_commit) : "before the base backup",
                                   humanDuration(report.seconds), humanDuration(report.unpack_seconds),
                                   counted(report.log_files, "file"), humanDuration(report.replay_seconds)));
  if (report.promised) out.line(fmt::format("  the log was confirmed through {}", backup::formatLsn(*report.promised)));
  for (const auto& line : report.verified) out.marked(Mark::Ok, line);
  for (const auto& line : report.warnings) out.marked(Mark::Warning, line);
  if (!report.against.empty())
    out.marked(Mark::Failure,
               fmt::format("it does not verify: {}\n    → it is complete and stays in {}: aragora verify "
                           "tells more once it runs",
                           report.against, report.to));
  if (report.tablespaces > 0)
    out.line(fmt::format("  {} {} in {}.tablespaces; the links in pg_tblspc lead there",
                         counted(report.tablespaces, "tablespace"), agreeing(report.tablespaces, "is", "are"),
                         report.to));
  for (const auto& note : report.notes) out.line("  " + note);
  out.line("  it is stopped and complete; to look at it: pg_ctl -D " + report.to + " -o '-p 5433' start");
}

// So that `verify` does not miss what was in the audit log of the state that is gone.
void noteRestored(Context& context, const std::string& what) {
  try {
    const auto state = context.config().stateDirectory();
    makeDirectories(state, 0750);
    backup::noteRestored(state, what, context.keyring());
  } catch (const Error& error) {
    log::warning("the restore is not noted, and verify will miss what the audit log had since: {}", error.what());
  }
}

int recover(Context& context, const Options& options, const backup::RecoveryTarget& target) {
  const auto& out = context.out();
  auto how = howToRecover(context, options, target);
  auto shown = std::make_unique<ShownProgress>(out, "restore");
  how.progress = shown->get();
  const auto report = backup::recoverCluster(how);
  shown.reset();
  if (!options.dry_run) noteRestored(context, fmt::format("cluster to {}, {}", report.to, report.target));
  for (const auto& step : report.plan) out.marked(Mark::Info, "would " + step);
  out.document(describe(report, options.dry_run));
  for (const auto& loss : report.losses) out.marked(Mark::Failure, "lost, as accepted: " + loss);
  if (!options.dry_run)
    showRecovered(out, report);
  else
    for (const auto& note : report.notes) out.line("  " + note);
  return report.against.empty() ? 0 : info(Code::Damaged).exit_status;
}

// Before anything is read: silence is no consent to taking a database's place.
void requireConsent(const Options& options) {
  if (options.to || options.dry_run || options.yes || canAsk()) return;
  throw Error(Code::Usage, "restore replaces the live database: without a terminal it needs --yes",
              "--dry-run shows what would be done, --to restores beside it");
}

std::string summary(const backup::Manifest& manifest) {
  std::int64_t rows = 0;
  for (const auto& table : manifest.tables) rows += table.rows;
  return fmt::format("{}, {}", counted(manifest.tables.size(), "table"), counted(rows, "row"));
}

void askFirst(const backup::Entry& entry, const backup::RestoreOptions& how) {
  backup::Repository::requireAuthentic(entry, *how.keyring);
  const auto replaced = backup::whatIsReplaced(how.target);
  if (!replaced) return;
  const auto increments = !how.increments ? std::string()
                          : how.until == INT64_MAX
                              ? std::string(", and every increment behind it")
                              : fmt::format(", and its increments up to {}", describeMoment(*how.until));
  if (!ask(fmt::format("This replaces {}\n  with backup {} of {}: {}{}.\nWhat is there now is kept beside it.",
                       *replaced, entry.id, describeMoment(entry.manifest->started_at), summary(*entry.manifest),
                       increments)))
    throw Error(Code::Interrupted, "not confirmed; nothing was changed");
}

int restore(Context& context, const Options& options) {
  if (options.configuration)
    return restoreConfiguration(context, {options.input, options.from, options.identity, options.to, options.dry_run});
  const auto& out = context.out();
  if (options.identity)
    throw Error(Code::Usage, "--identity goes with --configuration",
                "what else is restored is opened by the configured encryption key");
  const auto target = recoveryTarget(options);
  if (options.target_time) out.note("target time: " + describeMoment(*fromIso(target->value)));
  if (target && context.config().usesPostgres()) return recover(context, options, *target);
  if (!target && !options.input) throw Error(Code::Usage, "restore needs --input", "a path, an id, or latest");
  requireConsent(options);
  const auto directory = context.backups(std::nullopt, options.from);
  const auto until = target ? std::optional(endOfIncrements(options, *target)) : std::nullopt;
  if (!target || target->kind == backup::RecoveryTarget::Kind::Latest) requireNothingNewer(context, directory, options);
  const auto entry = chosen(context, directory, options, until);
  backup::RestoreOptions how;
  how.target = context.target();
  how.keyring = &context.keyring();
  how.to = options.to;
  how.verify = options.verify;
  how.dry_run = options.dry_run;
  how.increments = target.has_value();
  how.until = until;
  if (context.config().isSet(config::key::kRedisUrl)) how.redis_url = context.config().secret(config::key::kRedisUrl);
  if (!options.to && !options.dry_run && !options.yes) askFirst(entry, how);
  auto shown = std::make_unique<ShownProgress>(out, "restore");
  how.progress = shown->get();
  const auto report = backup::restoreBackup(entry, how);
  shown.reset();
  if (options.dry_run) {
    for (const auto& step : report.plan) out.marked(Mark::Info, "would " + step);
    out.document({{"dry_run", true}, {"id", report.id}, {"plan", texts(report.plan)}});
    return 0;
  }
  noteRestored(context, fmt::format("backup {} to {}", report.id, report.landed));
  if (!options.to) record(context, "backup.restore", "backup:" + report.id, {{"to", report.landed}});
  out.marked(Mark::Ok,
             fmt::format("{} restored to {}: {}, {} as recorded ({})", report.id, report.landed,
                         counted(report.tables, "table"), counted(report.rows, "row"), humanDuration(report.seconds)));
  if (how.increments)
    out.line(fmt::format("  with {}, as of {}", counted(report.increments, "increment"), toIso(report.as_of)));
  for (const auto& line : report.verified) out.marked(Mark::Ok, line);
  for (const auto& line : report.warnings) out.marked(Mark::Warning, line);
  if (report.sessions > 0) out.line(fmt::format("  {} put back into Redis", counted(report.sessions, "session")));
  if (!report.kept.empty()) out.line(fmt::format("  what was there before is {}", report.kept));
  out.document({{"id", report.id},
                {"restored_to", report.landed},
                {"kept", report.kept},
                {"tables", report.tables},
                {"rows", report.rows},
                {"increments", report.increments},
                {"as_of", toIso(report.as_of)},
                {"verified", texts(report.verified)},
                {"warnings", texts(report.warnings)},
                {"seconds", report.seconds}});
  return 0;
}
}  // namespace

void declareRestore(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.option("--input", options->input, "A path, an id, or latest", cli::backup())
      .flag("--verify", options->verify,
            "Also run aragora verify on the restored data before it takes the target's place")
      .flag("--dry-run", options->dry_run, "Check the backup and show what would be done")
      .flag("--yes", options->yes, "Replace the live database without asking; needed where there is no terminal")
      .option("--to", options->to, "Restore to this file or database name instead; nothing is swapped", file())
      .option("--target-time", options->target_time,
              "Recover to this moment, with its zone (PostgreSQL: the cluster, into --to DIRECTORY)")
      .option("--target-name", options->target_name, "… to this restore point (pg_create_restore_point)")
      .option("--target-lsn", options->target_lsn, "… to this position")
      .option("--target-xid", options->target_xid, "… to this transaction")
      .option("--target-timeline", options->target_timeline,
              "Along this timeline, where the target lies on several (see: aragora backup status)")
      .flag("--exclusive", options->exclusive, "Stop just before the target")
      .flag("--accept-loss", options->accept_loss, "Also when what the receiver had confirmed is not all there")
      .flag("--latest", options->latest, "… to the newest moment there is")
      .option("--from", options->from, "Read the backups there instead: offsite, s3://bucket/prefix, or a directory",
              place());
  line.flag("--configuration", options->configuration,
            "Write the saved configuration into --to DIRECTORY (as root default /etc/aragora)")
      .option("--identity", options->identity, "With --configuration: file of the recovery key that opens it", file());
  declareWalGet(line.subcommand("wal-get", "Hand a file of the log to a recovering PostgreSQL: restore_command"));
  line.run([options](Context& context) { return restore(context, *options); });
}

}  // namespace aragora::cli
