#include "common/audit/audit.h"

#include "cli/audit_trail.h"
#include "cli/audit_witnesses.h"
#include "cli/commands/commands.h"
#include "cli/schema.h"
#include "common/base/text.h"
#include "common/store/key_use.h"

namespace aragora::cli {

namespace {
json::array listed(const std::vector<std::string>& texts) { return json::array(texts.begin(), texts.end()); }

// First what speaks against the log, then what keeps it from being vouched for.
int verdict(const Output& out, const backup::AuditNotes& notes, const std::optional<std::string>& contradiction,
            const audit::ChainResult& chain) {
  if (contradiction) out.marked(Mark::Failure, *contradiction + "\n    → compare with that backup");
  if (chain.first_bad)
    out.marked(Mark::Failure, fmt::format("entry {}: {}\n    → compare with a backup", *chain.first_bad, chain.reason));
  for (const auto& one : notes.forged)
    out.marked(Mark::Failure, one + "\n    → look at it; then: aragora audit accept --reason …");
  for (const auto& one : notes.unread) out.marked(Mark::Warning, "could not be checked: " + one);
  if (contradiction || chain.first_bad || !notes.forged.empty()) return info(Code::Damaged).exit_status;
  return notes.unread.empty() ? 0 : info(Code::CouldNotVerify).exit_status;
}

int verifyLog(Context& context) {
  const auto& out = context.out();
  requireSchema(context);
  const auto target = context.target();
  const auto notes = auditNotes(context, target, context.keyring());
  const auto database = database::openDatabase(target);
  std::optional<std::string> contradiction;
  const auto chain = database->reading([&](database::Connection& connection) {
    contradiction = audit::contradiction(connection, notes.witnesses, notes.accepted_at);
    return audit::verifyChain(connection, store::withKeptKeys(connection, context.keyring()));
  });
  const int status = verdict(out, notes, contradiction, chain);
  if (status == 0)
    out.marked(Mark::Ok, fmt::format("{}, chain holds, nothing is missing that {} saw", counted(chain.entries, "entry"),
                                     counted(notes.witnesses.size(), "witness")));
  out.document({{"entries", chain.entries},
                {"verified", status == 0},
                {"first_bad", chain.first_bad ? json::value(*chain.first_bad) : json::value(nullptr)},
                {"reason", chain.reason},
                {"contradiction", contradiction ? json::value(*contradiction) : json::value(nullptr)},
                {"witnesses", notes.witnesses.size()},
                {"forged", listed(notes.forged)},
                {"could_not_be_checked", listed(notes.unread)},
                {"exit_status", status}});
  return status;
}

// The entry first: what is accepted without a trace would not have been.
int accept(Context& context, const std::optional<std::string>& reason) {
  if (!reason || trim(*reason).empty())
    throw Error(Code::Usage, "audit accept needs --reason", "say what was found and why it may be, in a few words");
  const auto& keyring = context.keyring();
  const auto database = openWithSchema(context);
  database->write([&](database::Connection& connection) {
    audit::append(
        connection, keyring,
        {operatorName(), "audit.accept", "audit_log", "success", {}, {}, {{"reason", printable(*reason, 500)}}});
  });
  const auto kept = backup::acceptAudit(context.config().stateDirectory(), *reason, keyring);
  const auto& out = context.out();
  for (const auto& file : kept) out.line("  kept: " + file);
  out.marked(Mark::Ok, "what was seen of the audit log before now is held against it no more");
  out.document({{"reason", *reason}, {"kept", listed(kept)}});
  return 0;
}
}  // namespace

void declareAudit(CommandLine line) {
  line.subcommand("verify", "Hold the audit log against its chain and everything that was written down about it")
      .run(verifyLog);
  auto reason = std::make_shared<std::optional<std::string>>();
  line.subcommand("accept", "Go on with the log as it is: what was held against it was looked at")
      .option("--reason", *reason, "What was found, for the log")
      .run([reason](Context& context) { return accept(context, *reason); });
  line.run([](Context&) -> int { throw Error(Code::Usage, "audit needs a subcommand", "try: aragora audit verify"); });
}

}  // namespace aragora::cli
