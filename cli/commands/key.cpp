#include <set>

#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "common/accounts/key_use.h"
#include "common/backup/repository.h"
#include "common/base/text.h"
#include "common/store/settings.h"

namespace aragora::cli {

namespace {
accounts::KeyUse wholeUse(Context& context, database::Database& database) {
  auto use = accounts::keyUse(database);
  const auto directory = context.backups(std::nullopt, std::nullopt);
  for (const auto kind : backup::allKinds()) {
    for (const auto& entry : backup::Repository(directory, nullptr, kind).list())
      if (entry.manifest) ++use["backups"][entry.manifest->key_id];
  }
  return use;
}

// Of «audit entries», «backups».
std::string singular(const std::string& plural) {
  constexpr std::string_view kIes = "ies";
  if (endsWith(plural, kIes)) return plural.substr(0, plural.size() - kIes.size()) + "y";
  return plural.substr(0, plural.size() - 1);
}

std::vector<std::string> whatNeeds(const accounts::KeyUse& use, const std::string& key_id) {
  std::vector<std::string> needs;
  for (const auto& [what, by_key] : use) {
    if (const auto found = by_key.find(key_id); found != by_key.end())
      needs.push_back(counted(found->second, singular(what)));
  }
  return needs;
}

json::object describe(const accounts::KeyUse& use) {
  json::object object;
  for (const auto& [what, by_key] : use) {
    json::object counts;
    for (const auto& [key_id, count] : by_key) counts[key_id] = count;
    object[what] = std::move(counts);
  }
  return object;
}

std::set<std::string> idsIn(const accounts::KeyUse& use) {
  std::set<std::string> ids;
  for (const auto& [what, by_key] : use)
    for (const auto& [key_id, count] : by_key) ids.insert(key_id);
  return ids;
}

// Backups elsewhere are not counted: who keeps some there keeps the key.
int status(Context& context) {
  const auto& out = context.out();
  const auto& ring = context.keyring();
  const auto database = database::openDatabase(context.target());
  const auto use = wholeUse(context, *database);
  auto ids = idsIn(use);
  const auto known = ring.ids();
  ids.insert(known.begin(), known.end());
  bool missing = false;
  json::object keys;
  for (const auto& id : ids) {
    const auto needs = whatNeeds(use, id);
    const bool active = id == ring.activeId();
    const bool here = ring.has(id);
    missing = missing || !here;
    keys[id] = json::object{{"active", active}, {"configured", here}, {"may_go", !active && here && needs.empty()}};
    const auto needed_by = needs.empty() ? std::string("nothing here needs it") : join(needs, ", ");
    if (!here)
      out.marked(Mark::Failure, fmt::format("{} is not configured: {}\n    → add it to "
                                            "ARAGORA_ENCRYPTION_PREVIOUS_KEYS",
                                            id, needed_by));
    else if (active)
      out.marked(Mark::Ok, fmt::format("{} is active: {}", id, needed_by));
    else
      out.marked(Mark::Info, fmt::format("{} {}: {}", id, needs.empty() ? "may go" : "is needed", needed_by));
  }
  out.document({{"active", ring.activeId()}, {"keys", std::move(keys)}, {"use", describe(use)}});
  return missing ? info(Code::CouldNotVerify).exit_status : 0;
}

// What was signed stays under the key it was signed with: it can be checked as long as that one is named.
int rotate(Context& context) {
  const auto& out = context.out();
  const auto& ring = context.keyring();
  const auto database = database::openDatabase(context.target());
  database->write([&](database::Connection& connection) { store::requireSameKey(connection, ring); });
  const auto resealed = accounts::resealSecondFactors(*database, ring);
  record(context, "key.rotate", "key:" + ring.activeId(), {{"second_factors", resealed}});
  out.marked(Mark::Ok, fmt::format("key {} is the database's; {} sealed for it", ring.activeId(),
                                   counted(resealed, "second factor")));
  out.line("  for the backups that exist: aragora backup rekey\n  whether the old key may go: aragora key status");
  out.document({{"active", ring.activeId()}, {"second_factors", resealed}});
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
