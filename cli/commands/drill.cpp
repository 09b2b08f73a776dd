#include "cli/commands/backup.h"
#include "cli/commands/commands.h"
#include "cli/notices.h"
#include "cli/output/shown_progress.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/drill/evidence.h"

namespace aragora::cli {

namespace {
namespace key = config::key;

struct Options {
  std::optional<std::string> output;
  std::optional<std::string> from;
  std::optional<std::string> input;
  std::optional<std::string> kind;
  std::optional<std::string> scratch;
  bool random = false;
};

// What the deployment would really recover from: its base backups and log when it has them.
drill::Way wayOf(Context& context, const Options& options) {
  if (options.kind) return *drill::parseWay(*options.kind);
  if (!context.config().usesPostgres()) return drill::Way::Logical;
  const backup::Repository bases(context.backups(options.output, options.from), nullptr, backup::Kind::Base);
  return bases.list().empty() ? drill::Way::Logical : drill::Way::Physical;
}

// What makes a drill impossible is no finding about the backups: it leaves no evidence, and no directory behind.
void requireSomethingToTry(const drill::Options& how, bool named) {
  const auto& place = how.directory;
  std::error_code ignored;
  if (named && place.isLocal() && !fs::is_directory(place.path(), ignored))
    throw Error(Code::NoInput, fmt::format("there is no directory {}", place.describe()),
                "name the directory of the backups, or make a backup: aragora backup");
  const auto entries = backup::Repository(place, how.keyring, drill::kindFor(how.way)).list();
  std::string other;
  for (const auto& entry : entries) {
    if (!entry.manifest || how.keyring->has(entry.manifest->key_id)) return;
    other = entry.manifest->key_id;
  }
  if (!other.empty())
    throw Error(Code::Config,
                fmt::format("no backup in {} is of the key at hand: they name key {}, the active key is {}",
                            place.describe(), printable(other, 20), how.keyring->activeId()),
                "use that key, or name it in encryption.previous_keys");
}

int drill(Context& context, const Options& options) {
  const auto& out = context.out();
  backups::requireOurs(context, context.backupDirectory(options.output), backups::Unknown::Warn);
  drill::Options how;
  how.directory = context.backups(options.output, options.from);
  how.live = context.target();
  how.encryption_key = context.config().secret(key::kEncryptionKey);
  how.keyring = &context.keyring();
  how.way = wayOf(context, options);
  if (how.way == drill::Way::Physical && !context.config().usesPostgres())
    throw Error(Code::Usage, "a physical drill needs PostgreSQL; the database is SQLite", "use --kind logical");
  how.backup = options.input;
  how.random = options.random;
  if (options.scratch) how.scratch = fs::absolute(*options.scratch);
  how.rto = std::chrono::minutes(context.config().integer(key::kRtoMinutes));
  how.rpo = std::chrono::minutes(context.config().integer(key::kRpoMinutes));
  how.tool_version = kVersion;
  auto shown = std::make_unique<ShownProgress>(out, "drill");
  how.progress = shown->get();
  requireSomethingToTry(how, options.output || options.from);
  const auto evidence = drill::runDrill(how);
  shown.reset();
  const auto path = drill::save(evidence, context.backupDirectory(options.output), context.keyring());
  for (const auto& step : evidence.steps) {
    const auto mark = step.outcome == drill::Step::Outcome::Done ? Mark::Ok : Mark::Failure;
    out.marked(mark,
               fmt::format("{} ({}): {}", step.name, humanDuration(step.seconds),
                           step.outcome == drill::Step::Outcome::NotRun ? "not run, " + step.detail : step.detail));
  }
  for (const auto& box : evidence.boxes) out.line(fmt::format("  [{}] {}", box.ticked ? "x" : " ", box.text));
  const auto objective = [&](const char* name, double seconds, std::chrono::seconds allowed, bool met) {
    out.marked(met ? Mark::Ok : Mark::Failure,
               evidence.recovered ? fmt::format("{}: {} of {}", name, humanDuration(seconds), humanDuration(allowed))
                                  : fmt::format("{}: not measured", name));
  };
  objective("Time to recover", evidence.rto_seconds, evidence.rto_objective, evidence.rtoMet());
  objective("Data that would be lost", evidence.rpo_seconds, evidence.rpo_objective, evidence.rpoMet());
  out.line(fmt::format("  evidence: {}", path.string()));
  auto document = drill::toDocument(evidence);
  document["evidence"] = path.string();
  out.document(document);
  return evidence.passed() ? 0 : info(Code::CheckFailed).exit_status;
}

int list(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto directory = context.backupDirectory(options.output);
  const auto all = drill::history(directory, context.keyring());
  json::array drills;
  bool forged = false;
  for (const auto& kept : all) {
    forged |= !kept.authentic;
    const bool passed = kept.authentic && jsonFlagOr(kept.document, "passed", false);
    const auto seconds = [&](const char* name) {
      const auto* value = kept.document.if_contains(name);
      return value != nullptr && !value->is_null() ? humanDuration(jsonNumberOr(kept.document, name, 0))
                                                   : std::string("-");
    };
    out.marked(passed ? Mark::Ok : Mark::Failure,
               kept.authentic
                   ? fmt::format("{}  {}  RTO {}  RPO {}  {}", kept.id, jsonTextOr(kept.document, "kind", ""),
                                 seconds("rto_seconds"), seconds("rpo_seconds"), passed ? "passed" : "not passed")
                   : fmt::format("{}  the signature does not hold", kept.id));
    drills.push_back(json::object{{"id", kept.id}, {"authentic", kept.authentic}, {"evidence", kept.document}});
  }
  if (all.empty()) out.line(fmt::format("No drills in {}", (directory / "drills").string()));
  out.document({{"directory", directory.string()}, {"drills", drills}});
  return forged ? info(Code::Damaged).exit_status : 0;
}
}  // namespace

void declareDrill(CommandLine line) {
  auto options = std::make_shared<Options>();
  const auto runs = [options](int (*function)(Context&, const Options&)) {
    return [options, function](Context& context) { return function(context, *options); };
  };
  line.option("--output", options->output, "Directory of the backups (default backup.directory)", directory())
      .option("--from", options->from, "Read the backups there instead: offsite, s3://bucket/prefix, or a directory",
              place())
      .option("--input", options->input, "The id of a backup (default the newest good one)")
      .flag("--random", options->random, "Any good backup")
      .option("--kind", options->kind,
              "logical, or physical: base backup and log (default what there is to recover from)",
              oneOf(drill::wayNames()))
      .option("--scratch", options->scratch,
              "Restore below this directory (default scratch in the state directory; as root TMPDIR or /var/tmp)",
              directory());
  line.run([options](Context& context) {
    return watched(context, {notify::Kind::Drill, "aragora drill", notify::Channel::DrillPing},
                   [&] { return drill(context, *options); });
  });
  line.subcommand("list", "Show earlier drills and whether their signatures hold").run(runs(list));
}

}  // namespace aragora::cli
