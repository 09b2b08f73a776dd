#include "cli/audit_trail.h"
#include "cli/commands/backup.h"
#include "common/backup/create.h"
#include "common/backup/elsewhere.h"
#include "common/backup/ledger.h"
#include "common/backup/ownership.h"
#include "common/backup/physical/wal_archive.h"
#include "common/backup/prune.h"
#include "common/backup/rekey.h"
#include "common/backup/signed_record.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::cli::backups {

namespace {
namespace key = config::key;
constexpr std::chrono::seconds kClocksApart{300};
constexpr const char* kConfirmation = "retention.json";

// Everything that one run would do, made before anything is done.
struct Planned {
  backup::Repository repository;
  backup::PrunePlan plan;
};

Micros confirmedAt(const fs::path& directory, const crypto::Keyring& keyring) {
  try {
    const auto record = backup::readSignedRecord(directory, kConfirmation, keyring);
    return record ? fromIso(jsonTextOr(*record, "confirmed_at", "")).value_or(0) : 0;
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    log::warning("{}: nobody has said that the clock was right", error.what());
    return 0;
  }
}

void recordConfirmation(const fs::path& directory, const crypto::Keyring& keyring, Micros now) {
  writeFileAtomically(directory / kConfirmation, backup::signedRecord({{"confirmed_at", toIso(now)}}, keyring), 0640);
}

// Every kind at one place by the same rules.
void planAt(Context& context, const storage::Place& place, const Options& options, std::vector<Planned>& planned) {
  auto evidence = backup::timeEvidence(place, context.backupKeyring(), nowMicros());
  evidence.confirmed = confirmedAt(context.backupDirectory(options.output), context.backupKeyring());
  for (auto rule : backup::policyOf(context.config())) {
    if (options.days) rule.keep_days = *options.days;
    // What was locked for longer when it was written is not there to be removed.
    if (!place.isLocal()) rule.keep_days = std::max(rule.keep_days, context.config().integer(key::kOffsiteLockDays));
    backup::Repository repository(place, &context.backupKeyring(), rule.kind);
    auto plan = backup::planPrune(backup::authentic(repository.list(), context.backupKeyring()), rule, evidence);
    if (!plan.items.empty()) planned.push_back({std::move(repository), std::move(plan)});
  }
}

void show(const Output& out, const Planned& planned, bool only_plan, json::array& items) {
  const auto& place = planned.repository.directory();
  for (const auto& item : planned.plan.items) {
    items.push_back(json::object{
        {"place", place.describe()}, {"id", item.entry.id}, {"remove", item.remove}, {"reason", item.reason}});
    out.marked(item.remove ? Mark::Ok : Mark::Info,
               fmt::format("{}  {}{}{}", item.entry.id, only_plan && item.remove ? "would be " : "", item.reason,
                           place.isLocal() ? "" : " (" + place.describe() + ")"));
  }
}

// The database's server has a clock of its own, when it is another machine. One that does not answer says nothing.
std::string serverClockDiffers(Context& context) {
  if (!context.config().usesPostgres()) return {};
  try {
    const auto theirs = database::connect(context.target())
                            ->query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", {})[0]
                            .integer(0);
    const auto apart = std::abs(nowMicros() - theirs) / 1'000'000;
    if (apart < kClocksApart.count()) return {};
    return fmt::format("this machine's clock and the database server's are {} apart",
                       humanDuration(std::chrono::seconds(apart)));
  } catch (const Error& error) {
    if (error.code() != Code::Unreachable) throw;
    return {};
  }
}

// Why the plans as a whole are not carried out without a word from somebody; empty when they are.
std::string whyNotNow(Context& context, const std::vector<Planned>& planned, const Options& options,
                      std::size_t removals) {
  if (options.yes_remove) {
    if (*options.yes_remove == static_cast<std::int64_t>(removals)) return {};
    return fmt::format("the plan removes {}, not {}", counted(removals, "backup"), *options.yes_remove);
  }
  if (removals == 0) return {};
  for (const auto& one : planned) {
    if (!one.plan.question.empty())
      return one.plan.question +
             (one.repository.directory().isLocal() ? "" : " (" + one.repository.directory().describe() + ")");
  }
  return serverClockDiffers(context);
}

std::string lineToType(const Options& options, std::size_t removals) {
  auto line = std::string("aragora backup prune");
  if (options.output) line += " --output " + *options.output;
  if (options.days) line += fmt::format(" --days {}", *options.days);
  return fmt::format("{} --yes-remove {}", line, removals);
}

// Log that no base backup needs any more.
std::size_t pruneLog(const storage::Place& place, const crypto::Keyring& keyring) {
  const backup::WalArchive archive(place / "wal", keyring);
  const auto size = archive.segmentSize();
  if (size == 0) return 0;
  std::vector<backup::WalSegment> starts;
  for (const auto& entry : backup::Repository(place, &keyring, backup::Kind::Base).list()) {
    if (!entry.manifest || !entry.manifest->physical) return 0;  // one that cannot be read may need all of it
    starts.push_back({entry.manifest->physical->timeline, entry.manifest->physical->start / size});
  }
  return archive.removeBefore(starts);
}

// Answers the first refusal, if any.
std::string carryOut(Context& context, const std::vector<Planned>& planned, std::size_t& segments) {
  std::string refusal;
  for (const auto& one : planned) {
    const auto& place = one.repository.directory();
    backup::executePrune(one.repository, one.plan, context.backupKeyring());
    if (refusal.empty() && !one.plan.refusal.empty())
      refusal = (place.isLocal() ? "" : place.describe() + ": ") + one.plan.refusal;
    if (one.repository.kind() != backup::Kind::Base || !one.plan.refusal.empty()) continue;
    const auto removed = pruneLog(place, context.backupKeyring());
    if (removed > 0)
      context.out().marked(Mark::Ok,
                           fmt::format("{} of log removed: no base backup needs them", counted(removed, "file")));
    segments += removed;
  }
  return refusal;
}

std::pair<backup::Repository, backup::Entry> named(Context& context, const Options& options) {
  if (!options.input) throw Error(Code::Usage, "the command needs --input", "an id: see aragora backup list");
  requireOurs(context, context.backupDirectory(options.output), Unknown::Warn);
  return findAnyKind(context, context.backupDirectory(options.output), *options.input);
}
}  // namespace

void requireOurs(Context& context, const fs::path& directory, Unknown unknown) {
  const auto owner = backup::ownerOf(directory);
  if (!owner) return;
  std::optional<std::string> ours;
  try {
    ours = backup::instanceOf(context.target());
  } catch (const Error& error) {
    if (unknown == Unknown::Refuse)
      throw Error(Code::CouldNotVerify,
                  fmt::format("whether the backups in {} are this deployment's cannot be seen: {}", directory.string(),
                              error.what()),
                  "nothing was removed; try again when the database answers");
    log::warning("whether the backups in {} are this deployment's was not seen: {}", directory.string(), error.what());
    return;
  }
  backup::requireOwner(directory, ours.value_or("without a database yet"));
}

int prune(Context& context, const Options& options) {
  if (options.days && *options.days < 1) throw Error(Code::Usage, "--days takes 1 or more");
  const auto directory = context.backupDirectory(options.output);
  std::optional<FileLock> lock;
  if (!options.dry_run) lock = backup::Repository(directory, &context.backupKeyring()).lock(lockWait(options));
  requireOurs(context, directory, options.dry_run ? Unknown::Warn : Unknown::Refuse);
  std::vector<Planned> planned;
  planAt(context, directory, options, planned);
  if (const auto place = storage::offsite(context.config())) {
    backup::requireElsewhere(*place);
    if (const auto ours = backup::ownerOf(directory)) backup::requireOwner(*place, ours->instance_id);
    planAt(context, *place, options, planned);
  }

  std::size_t removals = 0;
  for (const auto& one : planned) removals += one.plan.removals();
  const auto question = whyNotNow(context, planned, options, removals);
  const bool only_plan = options.dry_run || !question.empty();
  json::array items;
  for (const auto& one : planned) show(context.out(), one, only_plan, items);
  std::size_t segments = 0;
  std::string refusal;
  if (!only_plan) {
    if (options.yes_remove) recordConfirmation(directory, context.backupKeyring(), nowMicros());
    refusal = carryOut(context, planned, segments);
    if (removals > 0)
      record(context, "backup.prune", "place:" + directory.string(), {{"backups", removals}, {"log_files", segments}},
             refusal.empty() ? "success" : "failure");
  }
  for (const auto& one : planned) {
    if (options.dry_run && refusal.empty()) refusal = one.plan.refusal;
  }
  context.out().document({{"dry_run", options.dry_run},
                          {"items", items},
                          {"removals", removals},
                          {"question", question},
                          {"log_files", segments},
                          {"refusal", refusal}});
  if (!question.empty()) {
    if (!options.dry_run)
      throw Error(Code::CheckFailed,
                  fmt::format("nothing was removed, {} would be: {}", counted(removals, "backup"), question),
                  fmt::format("look at the clock and the plan; if they are right: {}", lineToType(options, removals)));
    context.out().marked(Mark::Warning,
                         fmt::format("it would ask: {}\n    → {}", question, lineToType(options, removals)));
  }
  if (!refusal.empty())
    throw Error(Code::CheckFailed, fmt::format("nothing was removed: {}", refusal),
                "make a new backup and verify it first");
  return 0;
}

int forget(Context& context, const Options& options) {
  const auto directory = context.backupDirectory(options.output);
  const auto lock = backup::Repository(directory, &context.backupKeyring()).lock(lockWait(options));
  requireOurs(context, directory, Unknown::Refuse);
  const auto place = context.backups(options.output, options.from);
  if (const auto ours = backup::ownerOf(directory); options.from && ours)
    backup::requireOwner(place, ours->instance_id);
  json::array forgotten;
  const auto told = backup::toldHeads(context.target(), place, context.backupKeyring());
  if (!told.failure.empty()) context.out().marked(Mark::Warning, told.failure);
  for (const auto kind : backup::allKinds()) {
    for (const auto& gone : backup::forgetGone(place, kind, told.of(kind), context.backupKeyring())) {
      context.out().marked(Mark::Warning, fmt::format("known to be gone from now on: {}", gone));
      forgotten.push_back(json::string(gone));
    }
  }
  if (forgotten.empty()) context.out().line("Everything that was made and not pruned is there.");
  context.out().document({{"forgotten", forgotten},
                          {"not_asked", told.failure.empty() ? json::value(nullptr) : json::value(told.failure)}});
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
    out.text("identity", text);
  }
  out.line(fmt::format("  ARAGORA_BACKUP_RECIPIENTS={}\n  then, for the backups that exist: aragora backup rekey",
                       recipient));
  out.document({{"recipient", recipient}});
  if (options.out) out.document({{"file", *options.out}});
  return 0;
}

int rekey(Context& context, const Options& options) {
  const auto directory = context.backupDirectory(options.output);
  const auto sealing = backup::sealingFor(context.backupKeyring(), context.config().list(key::kBackupRecipients), 1);
  const auto report = backup::rekey(directory, context.backupKeyring(), sealing, lockWait(options));
  const auto& out = context.out();
  record(context, "backup.rekey", "place:" + directory.string(), {{"backups", report.backups}},
         report.untouched.empty() ? "success" : "failure");
  out.marked(report.untouched.empty() ? Mark::Ok : Mark::Failure,
             fmt::format("{}, {} and {} of log are sealed for {}; {} were already", counted(report.backups, "backup"),
                         counted(report.increments, "increment"), counted(report.log_files, "file"),
                         counted(sealing.recipients.size(), "recipient"), report.already));
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
