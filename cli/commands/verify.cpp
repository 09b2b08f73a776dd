#include "common/verify/verify.h"

#include "cli/commands/commands.h"
#include "cli/output/shown_progress.h"
#include "common/backup/audit_notes.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/deployment/deployment.h"
#include "common/store/settings.h"

namespace aragora::cli {

namespace {
std::string_view name(verify::Outcome outcome) {
  switch (outcome) {
    case verify::Outcome::Ok:
      return "ok";
    case verify::Outcome::Failed:
      return "error";
    case verify::Outcome::NotVerified:
      return "not_verified";
  }
  return "error";
}

// A database that cannot be asked who it is gets its findings from the verification itself.
std::string instanceOf(const database::Target& target) {
  try {
    return store::readSetting(*database::connect(target), store::kInstanceId).value_or("");
  } catch (const Error&) {
    return {};
  }
}

void addWitnesses(Context& context, const database::Target& target, const crypto::Keyring& keyring,
                  verify::Options& how) {
  const auto instance = instanceOf(target);
  if (instance.empty()) return;
  auto notes = backup::auditNotes(context.config().stateDirectory(), context.backups(std::nullopt, std::nullopt),
                                  instance, keyring);
  for (const auto& one : notes.unread) log::warning("the end of the audit log is not compared with: {}", one);
  how.witnesses = std::move(notes.witnesses);
  how.restored_at = notes.restored_at;
}

int verifyData(Context& context) {
  const auto& out = context.out();
  const auto keyring = deployment::keyring(context.config());
  verify::Options how;
  how.keyring = keyring ? &*keyring : nullptr;
  auto shown = std::make_unique<ShownProgress>(out, "verify");
  how.progress = shown->get();
  auto target = context.target();
  if (keyring) addWitnesses(context, target, *keyring, how);
  target.statement_timeout = std::chrono::hours(1);
  const auto report = verify::verifyDatabase(target, how);
  shown.reset();
  json::array findings;
  for (const auto& finding : report.findings) {
    findings.push_back(json::object{
        {"id", finding.id}, {"status", name(finding.outcome)}, {"message", finding.message}, {"hint", finding.hint}});
    auto text = fmt::format("{}: {}", finding.id, finding.message);
    if (finding.outcome != verify::Outcome::Ok && !finding.hint.empty())
      text += fmt::format("\n    → {}", finding.hint);
    out.marked(finding.outcome == verify::Outcome::Ok       ? Mark::Ok
               : finding.outcome == verify::Outcome::Failed ? Mark::Failure
                                                            : Mark::Warning,
               text);
  }
  const int status = report.exitStatus();
  out.document({{"database", database::describe(target)},
                {"verified", status == 0},
                {"findings", findings},
                {"exit_status", status}});
  if (status == 0)
    out.marked(Mark::Ok, "The data is as it should be");
  else
    out.marked(Mark::Failure, report.failed() ? "The data is not as it should be" : "Not everything could be verified");
  return status;
}
}  // namespace

void declareVerify(CommandLine line) { line.run(verifyData); }

}  // namespace aragora::cli
