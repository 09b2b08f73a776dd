#include <set>

#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "cli/key_places.h"
#include "cli/schema.h"
#include "common/backup/audit_notes.h"
#include "common/backup/told_heads.h"
#include "common/base/text.h"
#include "common/store/settings.h"

namespace aragora::cli {

namespace {
json::object describe(const store::KeyUse& use) {
  json::object object;
  for (const auto& [what, by_key] : use) {
    json::object counts;
    for (const auto& [key_id, count] : by_key) counts[key_id] = count;
    object[what] = std::move(counts);
  }
  return object;
}

// Database and backups here under one roof, as the document has them.
json::object describeHere(const drill::KeyState& state) {
  auto all = describe(state.here);
  for (auto& [what, counts] : describe(state.backups)) all[what] = counts;
  return all;
}

Mark markOf(bool here, bool active) { return !here ? Mark::Failure : active ? Mark::Ok : Mark::Info; }

std::string saidOf(const std::string& id, const drill::KeyState& state, const crypto::Keyring& ring) {
  const auto needs = state.needs(id);
  const auto needed_by = needs.empty() ? std::string("nothing needs it") : join(needs, ", ");
  if (!ring.has(id))
    return fmt::format("{} is not configured: {}\n    → add it to ARAGORA_ENCRYPTION_PREVIOUS_KEYS", id, needed_by);
  if (id == ring.activeId()) return fmt::format("{} is active: {}", id, needed_by);
  if (needs.empty() && !state.unknown.empty())
    return fmt::format("{} may be needed: nothing here needs it, and elsewhere could not be looked at: {}", id,
                       state.unknown);
  return fmt::format("{} {}: {}", id, needs.empty() ? "may go" : "is needed", needed_by);
}

void sayWhatStays(const Output& out, const drill::KeyState& state) {
  std::set<std::string> ids;
  std::vector<std::string> what;
  for (const auto& [name, by_key] : state.before) {
    if (!by_key.empty()) what.push_back(name);
    for (const auto& [id, count] : by_key) ids.insert(id);
  }
  if (!what.empty())
    out.line(fmt::format("  signed under {}, and stays so: {}; kept keys verify it",
                         join({ids.begin(), ids.end()}, ", "), join(what, ", ")));
}

void sayNext(const Output& out, const std::string& next) {
  if (!next.empty()) out.line("  next: " + next);
}

int status(Context& context) {
  const auto& out = context.out();
  const auto& ring = context.keyring();
  requireSchema(context);
  const auto state = drill::keyState(keyPlaces(context), ring);
  auto ids = state.ids();
  const auto known = ring.ids();
  ids.insert(known.begin(), known.end());
  bool missing = false;
  json::object keys;
  for (const auto& id : ids) {
    const bool active = id == ring.activeId();
    const bool here = ring.has(id);
    missing = missing || !here;
    keys[id] = json::object{{"active", active}, {"configured", here}, {"may_go", state.mayGo(id, ring)}};
    out.marked(markOf(here, active), saidOf(id, state, ring));
  }
  const auto next = drill::nextStep(state, ring);
  sayWhatStays(out, state);
  sayNext(out, next);
  out.document({{"active", ring.activeId()},
                {"keys", std::move(keys)},
                {"use", describeHere(state)},
                {"elsewhere", describe(state.elsewhere)},
                {"elsewhere_unknown", state.unknown},
                {"signed_before", describe(state.before)},
                {"next", next}});
  return missing ? info(Code::CouldNotVerify).exit_status : 0;
}

int rotate(Context& context) {
  const auto& out = context.out();
  const auto& ring = context.keyring();
  const auto database = openWithSchema(context);
  database->write([&](database::Connection& connection) { store::requireSameKey(connection, ring); });
  const auto resealed = store::resealEverything(*database, ring);
  const auto notes =
      backup::signNotesAnew(context.config().stateDirectory(), ring) + backup::signToldAnew(context.target(), ring);
  record(context, "key.rotate", "key:" + ring.activeId(),
         {{"second_factors", resealed.second_factors},
          {"kept_keys", resealed.kept_keys},
          {"receipt_keys", resealed.receipt_keys},
          {"notes", notes}});
  out.marked(Mark::Ok,
             fmt::format("key {} is the database's; {}, {}, {} and {} put under it", ring.activeId(),
                         counted(resealed.second_factors, "second factor"), counted(resealed.kept_keys, "kept key"),
                         counted(resealed.receipt_keys, "receipt key"), counted(notes, "signed note")));
  const auto next = drill::nextStep(drill::keyState(keyPlaces(context), ring), ring);
  sayNext(out, next);
  out.document({{"active", ring.activeId()},
                {"second_factors", resealed.second_factors},
                {"kept_keys", resealed.kept_keys},
                {"receipt_keys", resealed.receipt_keys},
                {"notes", notes},
                {"next", next}});
  return 0;
}
}  // namespace

void declareKey(CommandLine line) {
  line.subcommand("show", "Print the id of the encryption key and the public age recipient of backups")
      .run([](Context& context) {
        const auto& ring = context.backupKeyring();
        const auto recipient = crypto::formatAgeRecipient(ring.backupRecipient());
        context.out().line(fmt::format("key id: {}\nbackup recipient: {}", ring.activeId(), recipient));
        context.out().document({{"key_id", ring.activeId()}, {"backup_recipient", recipient}});
        return 0;
      });
  line.subcommand("backup-identity", "Print the age identity that opens backups with the stock age program (secret)")
      .run([](Context& context) {
        record(context, "key.export", "backup-identity");
        context.out().note("This opens every backup. Keep it offline, with mode 0600:");
        context.out().text("backup_identity", crypto::formatAgeIdentity(context.keyring().backupIdentity()));
        return 0;
      });
  line.subcommand("backup-writer", "Print the key for a machine that makes backups and must not read them (secret)")
      .run([](Context& context) {
        record(context, "key.export", "backup-writer");
        context.out().note("For ARAGORA_BACKUP_WRITER_KEY of that machine. It signs backups and opens none:");
        context.out().text("backup_writer_key", context.keyring().backupWriter().reveal());
        return 0;
      });
  line.subcommand("status", "Count what needs which encryption key, and say which one may go").run(status);
  line.subcommand("rotate", "Put the data under the active key, once the old one is among the previous keys")
      .run(rotate);
  line.run([](Context&) -> int { throw Error(Code::Usage, "key needs a subcommand", "try: aragora key show"); });
}

}  // namespace aragora::cli
