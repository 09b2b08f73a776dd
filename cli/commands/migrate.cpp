#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "cli/commands/migrate_guard.h"
#include "cli/output/shown_progress.h"
#include "common/base/text.h"
#include "common/migrate/migrator.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::int64_t> to;
  std::optional<std::int64_t> lock_wait;
  bool dry_run = false;
  bool exit_code = false;
  bool allow_data_loss = false;
  bool no_backup = false;
  std::optional<std::int64_t> accept;
  std::optional<std::string> reason;
  std::optional<std::int64_t> timeout;
};

migrate::Migrator migratorFor(Context& context, const Options& options, Progress* progress = nullptr) {
  migrate::Options how;
  how.lock_wait = std::chrono::seconds(options.lock_wait.value_or(120));
  how.progress = progress;
  how.on_message = [&out = context.out()](std::string_view message) { out.note(message); };
  return migrate::Migrator(context.target(), how);
}

json::array describe(const std::vector<migrate::Applied>& migrations) {
  json::array array;
  for (const auto& m : migrations) {
    array.push_back(json::object{{"version", m.version},
                                 {"name", m.name},
                                 {"checksum", m.checksum},
                                 {"applied_at", toIso(m.applied_at)},
                                 {"applied_by", m.applied_by},
                                 {"duration_ms", m.duration_ms},
                                 {"note", m.note}});
  }
  return array;
}

json::array describe(const std::vector<migrate::Migration>& migrations) {
  json::array array;
  for (const auto& m : migrations)
    array.push_back(json::object{
        {"version", m.version}, {"name", m.name}, {"checksum", m.checksum}, {"transactional", m.transactional}});
  return array;
}

void show(const Output& out, const BackupGuard& guard, std::string_view command) {
  if (guard.wanted && guard.met())
    out.marked(Mark::Ok, fmt::format("Backup: {}", guard.proof));
  else if (guard.wanted)
    out.marked(Mark::Warning, fmt::format("Backup: {}: {} refuses without --no-backup", guard.lack, command));
}

int plan(Context& context, const Options& options) {
  const auto& out = context.out();
  json::array array;
  const auto plans = migratorFor(context, options).plan();
  if (plans.empty()) out.line("Nothing to do.");
  for (const auto& plan : plans) {
    out.line(fmt::format("{:04}_{}{}", plan.migration.version, plan.migration.name,
                         plan.migration.transactional ? "" : " (statement by statement, no transaction)"));
    json::array statements;
    for (const auto& statement : plan.statements) {
      out.line(
          fmt::format("  {};\n    {}", replaceAll(statement.sql, "\n", "\n  "), out.dim("locks: " + statement.lock)));
      statements.push_back(json::object{{"sql", statement.sql}, {"lock", statement.lock}});
    }
    array.push_back(
        json::object{{"version", plan.migration.version}, {"name", plan.migration.name}, {"statements", statements}});
  }
  const auto guard = plans.empty() ? BackupGuard{} : lookForBackup(context);
  show(out, guard, "up");
  out.document({{"plan", array}, {"backup", describe(guard)}});
  return 0;
}

int up(Context& context, const Options& options) {
  const auto& out = context.out();
  if (options.dry_run) return plan(context, options);
  auto shown = std::make_unique<ShownProgress>(out, "migrate");
  auto migrator = migratorFor(context, options, shown->get());
  const auto to = static_cast<int>(options.to.value_or(0));
  BackupGuard guard;
  if (const auto before = migrator.status(); !before.pending.empty() && (to == 0 || before.pending[0].version <= to))
    guard = lookForBackup(context);
  if (!options.no_backup) guard.require("aragora migrate");
  const auto applied = migrator.up(to);
  shown.reset();
  for (const auto& m : applied)
    out.marked(Mark::Ok, fmt::format("{:04}_{} applied in {}", m.version, m.name,
                                     humanDuration(std::chrono::milliseconds(m.duration_ms))));
  const auto status = migrator.status();
  if (!applied.empty())
    record(context, "migrate.up", fmt::format("version:{}", status.version()), {{"backup", describe(guard)}});
  if (applied.empty()) out.marked(Mark::Ok, fmt::format("Nothing to do: version {}", status.version()));
  out.document({{"applied", describe(applied)},
                {"version", status.version()},
                {"pending", describe(status.pending)},
                {"backup", describe(guard)}});
  return 0;
}

int status(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto found = migratorFor(context, options).status();
  for (const auto& m : found.applied) {
    const bool drifted =
        std::any_of(found.drifted.begin(), found.drifted.end(), [&](const auto& d) { return d.version == m.version; });
    out.marked(drifted ? Mark::Failure : Mark::Ok,
               fmt::format("{:04}_{}  {}  by {}{}", m.version, m.name, toIso(m.applied_at), m.applied_by,
                           drifted ? "  (another content than this binary's)" : ""));
  }
  for (const auto& m : found.pending) out.marked(Mark::Info, fmt::format("{:04}_{}  pending", m.version, m.name));
  for (const auto& m : found.unknown)
    out.marked(Mark::Warning, fmt::format("{:04}_{}  unknown to this version of aragora", m.version, m.name));
  out.document({{"version", found.version()},
                {"current", found.current()},
                {"applied", describe(found.applied)},
                {"pending", describe(found.pending)},
                {"drifted", describe(found.drifted)},
                {"unknown", describe(found.unknown)}});
  return options.exit_code && !found.current() ? info(Code::CheckFailed).exit_status : 0;
}

// A backup of before the upgrade is a way back to before and counts, while nothing is lost here that it lacks: tables
// with rows stay. Whoever gives those up wants a backup that has them.
BackupGuard guardOfDown(Context& context, const Options& options, migrate::Migrator& migrator) {
  const auto version = migrator.status().version();
  if (version <= *options.to) return {};
  return lookForBackup(context, options.allow_data_loss ? version : 0);
}

int down(Context& context, const Options& options) {
  const auto& out = context.out();
  if (!options.to)
    throw Error(Code::Usage, "down needs --to VERSION",
                "aragora migrate status shows the versions; 0 undoes everything");
  auto shown = std::make_unique<ShownProgress>(out, "migrate");
  auto migrator = migratorFor(context, options, shown->get());
  const auto guard = guardOfDown(context, options, migrator);
  if (!options.no_backup && !options.dry_run)
    guard.require(fmt::format("aragora migrate down --to {}{}", *options.to,
                              options.allow_data_loss ? " --allow-data-loss" : ""));
  const auto undone = migrator.down({static_cast<int>(*options.to), options.allow_data_loss, options.dry_run});
  shown.reset();
  if (!options.dry_run && !undone.empty())
    record(context, "migrate.down", fmt::format("version:{}", *options.to), {{"backup", describe(guard)}});
  for (const auto& m : undone)
    out.marked(options.dry_run ? Mark::Info : Mark::Ok,
               fmt::format("{:04}_{} {}", m.version, m.name, options.dry_run ? "would be undone" : "undone"));
  if (undone.empty()) out.marked(Mark::Ok, "Nothing to undo");
  if (options.dry_run) show(out, guard, "down");
  out.document({{"dry_run", options.dry_run}, {"undone", describe(undone)}, {"backup", describe(guard)}});
  return 0;
}

int baseline(Context& context, const Options& options) {
  if (!options.to)
    throw Error(Code::Usage, "baseline needs --to VERSION", "the version whose schema the database already has");
  const auto recorded = migratorFor(context, options).baseline(static_cast<int>(*options.to));
  for (const auto& m : recorded)
    context.out().marked(Mark::Ok, fmt::format("{:04}_{} recorded as applied", m.version, m.name));
  context.out().document({{"recorded", describe(recorded)}});
  return 0;
}

int repair(Context& context, const Options& options) {
  if (!options.accept || !options.reason || trim(*options.reason).empty()) {
    throw Error(Code::Usage, "repair needs --accept VERSION and --reason TEXT",
                "the reason is recorded in the migration history");
  }
  migratorFor(context, options).repair(static_cast<int>(*options.accept), *options.reason);
  record(context, "migrate.repair", fmt::format("version:{}", *options.accept), {{"reason", *options.reason}});
  context.out().marked(Mark::Ok, fmt::format("migration {} accepted", *options.accept));
  context.out().document({{"accepted", *options.accept}});
  return 0;
}

int wait(Context& context, const Options& options) {
  migratorFor(context, options).wait(std::chrono::seconds(options.timeout.value_or(60)));
  context.out().marked(Mark::Ok, "the database answers and nothing is pending");
  context.out().document({{"current", true}});
  return 0;
}
}  // namespace

void declareMigrate(CommandLine line) {
  auto options = std::make_shared<Options>();
  const auto runs = [options](int (*function)(Context&, const Options&)) {
    return [options, function](Context& context) { return function(context, *options); };
  };
  line.option("--to", options->to, "Stop at this version")
      .option("--lock-wait", options->lock_wait, "Seconds to wait for another run (default 120)")
      .flag("--dry-run", options->dry_run, "Show what would be done")
      .flag("--no-backup", options->no_backup, "In production: without a proved backup of the last 24 hours");
  line.run(runs(up));
  line.subcommand("up", "Apply pending migrations").run(runs(up));
  auto status_line = line.subcommand("status", "Show applied and pending migrations");
  status_line.flag("--exit-code", options->exit_code, "Exit 1 when something is pending or drifted").run(runs(status));
  line.subcommand("plan", "Show the SQL that up would run and the locks it takes").run(runs(plan));
  auto down_line = line.subcommand("down", "Undo migrations above --to");
  down_line.flag("--allow-data-loss", options->allow_data_loss, "Also drop tables that hold rows").run(runs(down));
  line.subcommand("baseline", "Record versions up to --to as applied, for a database made otherwise")
      .run(runs(baseline));
  auto repair_line = line.subcommand("repair", "Accept the changed content of an applied migration");
  repair_line.option("--accept", options->accept, "Version to accept")
      .option("--reason", options->reason, "Why; recorded")
      .run(runs(repair));
  auto wait_line = line.subcommand("wait", "Wait until the database answers and nothing is pending");
  wait_line.option("--timeout", options->timeout, "Seconds to wait (default 60)").run(runs(wait));
}

}  // namespace aragora::cli
