#include "cli/commands/backup.h"
#include "common/backup/create.h"
#include "common/backup/physical/wal_archive.h"
#include "common/backup/prune.h"
#include "common/backup/rekey.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::cli::backups {

namespace {
namespace key = config::key;

// Shows the plan and, unless it is a dry run, executes it; answers why nothing may be removed, if so.
std::string carryOut(const Output& out, const backup::Repository& repository, const backup::PrunePlan& plan,
                     bool dry_run, std::chrono::seconds lock_wait, json::array& items) {
  const auto& place = repository.directory();
  for (const auto& item : plan.items) {
    items.push_back(json::object{
        {"place", place.describe()}, {"id", item.entry.id}, {"remove", item.remove}, {"reason", item.reason}});
    out.marked(item.remove ? Mark::Ok : Mark::Info,
               fmt::format("{}  {}{}{}", item.entry.id, dry_run && item.remove ? "would be " : "", item.reason,
                           place.isLocal() ? "" : " (" + place.describe() + ")"));
  }
  if (!dry_run) backup::executePrune(repository, plan, lock_wait);
  return plan.refusal;
}

// Log that no base backup needs any more.
std::size_t pruneLog(const storage::Place& place, const crypto::Keyring& keyring) {
  std::optional<backup::PhysicalRecord> oldest;
  for (const auto& entry : backup::Repository(place, "base").list()) {
    if (!entry.manifest || !entry.manifest->physical) return 0;  // one that cannot be read may need all of it
    if (!oldest) oldest = entry.manifest->physical;
  }
  const backup::WalArchive archive(place / "wal", keyring);
  const auto size = archive.segmentSize();
  return oldest && size > 0 ? archive.removeBefore({oldest->timeline, oldest->start / size}) : 0;
}

// Every kind at one place by the same rules; answers the first refusal.
std::string pruneAt(Context& context, const storage::Place& place, const Options& options, json::array& items,
                    std::size_t& segments) {
  const auto& out = context.out();
  std::string refusal;
  bool base_refused = false;
  for (auto rule : backup::policyOf(context.config())) {
    if (options.days) rule.keep_days = *options.days;
    const backup::Repository repository(place, rule.kind);
    const auto plan = backup::planPrune(repository.list(), rule, nowMicros());
    if (plan.items.empty()) continue;
    const auto refused = carryOut(out, repository, plan, options.dry_run, lockWait(options), items);
    if (refusal.empty()) refusal = refused;
    if (rule.kind == "base") base_refused = !refused.empty();
  }
  const auto removed = options.dry_run || base_refused ? 0 : pruneLog(place, context.backupKeyring());
  if (removed > 0) out.marked(Mark::Ok, fmt::format("{} files of log removed: no base backup needs them", removed));
  segments += removed;
  return refusal;
}

std::pair<backup::Repository, backup::Entry> named(Context& context, const Options& options) {
  if (!options.input) throw Error(Code::Usage, "the command needs --input", "an id: see aragora backup list");
  return findAnyKind(context.backupDirectory(options.output), *options.input);
}
}  // namespace

int prune(Context& context, const Options& options) {
  if (options.days && *options.days < 1) throw Error(Code::Usage, "--days takes 1 or more");
  json::array items;
  std::size_t segments = 0;
  auto refusal = pruneAt(context, context.backupDirectory(options.output), options, items, segments);
  if (const auto place = storage::offsite(context.config())) {
    const auto there = pruneAt(context, *place, options, items, segments);
    if (refusal.empty() && !there.empty()) refusal = fmt::format("{}: {}", place->describe(), there);
  }
  context.out().document(
      {{"dry_run", options.dry_run}, {"items", items}, {"log_files", segments}, {"refusal", refusal}});
  if (!refusal.empty()) {
    throw Error(Code::CheckFailed, fmt::format("nothing was removed: {}", refusal),
                "make a new backup and verify it first");
  }
  return 0;
}

int pin(Context& context, const Options& options) {
  const auto [repository, entry] = named(context, options);
  repository.pin(entry, printable(options.reason.value_or("no reason given"), 500));
  context.out().marked(Mark::Ok, fmt::format("{} is kept until it is unpinned", entry.id));
  context.out().document({{"id", entry.id}, {"pinned", true}});
  return 0;
}

int unpin(Context& context, const Options& options) {
  const auto [repository, entry] = named(context, options);
  if (!entry.pinned) throw Error(Code::NoInput, fmt::format("{} is not pinned", entry.id), "see: aragora backup list");
  repository.unpin(entry);
  context.out().marked(Mark::Ok, fmt::format("{} is left to retention", entry.id));
  context.out().document({{"id", entry.id}, {"pinned", false}});
  return 0;
}

int keygen(Context& context, const Options& options) {
  const auto identity = crypto::ageIdentity(Secret(crypto::randomBytes(32)));
  const auto recipient = crypto::formatAgeRecipient(identity.recipient);
  const auto text = fmt::format("# aragora recovery key, made {}\n# public key: {}\n{}\n", toIso(nowMicros()),
                                recipient, crypto::formatAgeIdentity(identity));
  const auto& out = context.out();
  if (options.out) {
    createFileExclusively(*options.out, text, 0600);
    out.marked(Mark::Ok,
               fmt::format("{} opens every backup that is made for it: take it off this machine", *options.out));
  } else {
    out.note("This opens every backup that is made for it. Keep it off this machine, with mode 0600:");
    out.raw(text);
  }
  out.line(fmt::format("  ARAGORA_BACKUP_RECIPIENTS={}\n  then, for the backups that exist: aragora backup rekey",
                       recipient));
  if (options.out) out.document({{"recipient", recipient}, {"file", *options.out}});
  return 0;
}

int rekey(Context& context, const Options& options) {
  const auto directory = context.backupDirectory(options.output);
  const auto sealing = backup::sealingFor(context.backupKeyring(), context.config().list(key::kBackupRecipients), 1);
  const auto report = backup::rekey(directory, context.backupKeyring(), sealing, lockWait(options));
  const auto& out = context.out();
  out.marked(
      report.untouched.empty() ? Mark::Ok : Mark::Failure,
      fmt::format("{} backups, {} increments and {} files of log are sealed for {} recipients; {} were already",
                  report.backups, report.increments, report.log_files, sealing.recipients.size(), report.already));
  json::array untouched;
  for (const auto& line : report.untouched) {
    untouched.push_back(json::string(line));
    out.marked(Mark::Failure, "left as it was: " + line);
  }
  if (context.config().isSet(key::kOffsite)) out.line("  for the copy elsewhere: aragora backup copy --again");
  out.document({{"backups", report.backups},
                {"increments", report.increments},
                {"log_files", report.log_files},
                {"already", report.already},
                {"untouched", untouched}});
  return report.untouched.empty() ? 0 : info(Code::Damaged).exit_status;
}

}  // namespace aragora::cli::backups
