#include "common/verify/verify.h"

#include "cli/audit_witnesses.h"
#include "cli/commands/commands.h"
#include "cli/commands/verify_url.h"
#include "cli/key_places.h"
#include "cli/output/shown_progress.h"
#include "common/base/text.h"
#include "common/deployment/deployment.h"

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

// A rotation that is under way is no finding; what is next is worth a line.
void sayWhatRotationNeeds(Context& context, const crypto::Keyring& keyring) {
  try {
    if (const auto next = drill::nextStep(drill::keyState(keyPlaces(context), keyring), keyring); !next.empty())
      context.out().marked(Mark::Info, "key rotation, next: " + next);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;  // anything else is a finding above
  }
}

int verifyData(Context& context) {
  const auto& out = context.out();
  const auto keyring = deployment::keyring(context.config());
  verify::Options how;
  how.keyring = keyring ? &*keyring : nullptr;
  auto shown = std::make_unique<ShownProgress>(out, "verify");
  how.progress = shown->get();
  auto target = context.target();
  if (keyring) {
    auto notes = auditNotes(context, target, *keyring);
    how.witnesses = std::move(notes.witnesses);
    how.accepted_at = notes.accepted_at;
    how.unread = std::move(notes.unread);
    how.forged = std::move(notes.forged);
  }
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
  if (keyring && keyring->ids().size() > 1) sayWhatRotationNeeds(context, *keyring);
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

void declareVerify(CommandLine line) {
  auto options = std::make_shared<VerifyUrlOptions>();
  declareUrl(line, *options, "Look at a running deployment from outside instead");
  line.flag("--quick", options->quick, "With --url: health and readiness only");
  line.run([options](Context& context) {
    requireUrl(*options);
    if (options->url) return verifyUrl(context, *options);
    return verifyData(context);
  });
}

}  // namespace aragora::cli
