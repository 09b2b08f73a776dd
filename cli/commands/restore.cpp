#include "common/backup/restore.h"

#include "cli/commands/commands.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::string> input;
  std::optional<std::string> to;
  bool verify = false;
  bool dry_run = false;
  bool yes = false;
};

int restore(Context& context, const Options& options) {
  const auto& out = context.out();
  if (!options.input) throw Error(Code::Usage, "restore needs --input", "a path, an id, or latest");
  const auto entry = backup::Repository(context.config().backupDirectory()).resolve(*options.input);
  backup::RestoreOptions how;
  how.target = context.target();
  how.keyring = &context.keyring();
  how.to = options.to;
  how.verify = options.verify;
  how.dry_run = options.dry_run;
  if (context.config().isSet(config::key::kRedisUrl)) how.redis_url = context.config().secret(config::key::kRedisUrl);
  // Without a terminal nobody can answer; the old data is kept either way.
  if (!options.yes && canAsk()) how.confirm = ask;
  const auto report = backup::restoreBackup(entry, how);
  if (options.dry_run) {
    json::array steps;
    for (const auto& step : report.plan) {
      steps.push_back(json::string(step));
      out.marked(Mark::Info, "would " + step);
    }
    out.document({{"dry_run", true}, {"id", report.id}, {"plan", steps}});
    return 0;
  }
  out.marked(Mark::Ok, fmt::format("{} restored to {}: {} tables, {} rows as recorded ({:.1f} s)", report.id,
                                   report.landed, report.tables, report.rows, report.seconds));
  for (const auto& line : report.verified) out.marked(Mark::Ok, line);
  if (report.sessions > 0) out.line(fmt::format("  {} sessions put back into Redis", report.sessions));
  if (!report.kept.empty()) out.line(fmt::format("  what was there before is {}", report.kept));
  json::array verified;
  for (const auto& line : report.verified) verified.push_back(json::string(line));
  out.document({{"id", report.id},
                {"restored_to", report.landed},
                {"kept", report.kept},
                {"tables", report.tables},
                {"rows", report.rows},
                {"verified", verified},
                {"seconds", report.seconds}});
  return 0;
}
}  // namespace

void declareRestore(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.option("--input", options->input, "A path, an id, or latest")
      .flag("--verify", options->verify,
            "Also run aragora verify on the restored data before it takes the target's place")
      .flag("--dry-run", options->dry_run, "Check the backup and show what would be done")
      .flag("--yes", options->yes, "Do not ask")
      .option("--to", options->to, "Restore to this file or database name instead; nothing is swapped");
  line.run([options](Context& context) { return restore(context, *options); });
}

}  // namespace aragora::cli
