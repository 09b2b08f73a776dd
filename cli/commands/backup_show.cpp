#include <random>

#include "cli/commands/backup.h"
#include "cli/output/shown_progress.h"
#include "common/backup/ledger.h"
#include "common/backup/verify_backup.h"
#include "common/base/text.h"

namespace aragora::cli::backups {

json::object describe(const backup::Entry& entry) {
  json::object object{
      {"id", entry.id}, {"path", entry.directory.describe()}, {"good", entry.good()}, {"proven", entry.proven()}};
  if (!entry.problem.empty()) object["problem"] = entry.problem;
  if (entry.pinned) object["pinned"] = *entry.pinned;
  if (entry.manifest) {
    object["kind"] = backup::name(entry.manifest->kind);
    object["engine"] = database::storedName(entry.manifest->engine);
    object["finished_at"] = toIso(entry.manifest->finished_at);
    object["bytes"] = entry.manifest->storedSize();
    object["migration_version"] = entry.manifest->migration_version;
    object["key_id"] = entry.manifest->key_id;
  }
  if (!entry.disbelieved.empty()) object["verification_disbelieved"] = entry.disbelieved;
  if (!entry.verifications.empty()) {
    const auto& last = entry.verifications.back();
    object["last_verification"] =
        json::object{{"level", last.level}, {"ok", last.ok}, {"at", toIso(last.at)}, {"message", last.message}};
  }
  return object;
}

namespace {
// A list needs no key: without one it does not know what verification found.
const crypto::Keyring* keyringAtHand(Context& context) {
  try {
    return &context.backupKeyring();
  } catch (const Error& error) {
    if (error.code() != Code::Config) throw;
    return nullptr;
  }
}
}  // namespace

std::pair<backup::Repository, backup::Entry> findAnyKind(Context& context, const storage::Place& place,
                                                         const std::string& input) {
  const auto* keyring = keyringAtHand(context);
  for (const auto kind : backup::allKinds()) {
    if (input == "latest-" + name(kind) ||
        (input != "latest" && input.find('/') == std::string::npos && !(place / name(kind) / input).list().empty())) {
      backup::Repository repository(place, keyring, kind);
      auto entry = repository.resolve(input);
      return {std::move(repository), std::move(entry)};
    }
  }
  backup::Repository repository(place, keyring);
  auto entry = repository.resolve(input);
  return {std::move(repository), std::move(entry)};
}

int list(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto place = context.backups(options.output, options.from);
  json::array array;
  const auto* keyring = keyringAtHand(context);
  std::vector<backup::Entry> entries;
  for (const auto kind : backup::allKinds()) {
    for (auto& entry : backup::Repository(place, keyring, kind).list()) entries.push_back(std::move(entry));
  }
  for (const auto& entry : entries) {
    array.push_back(describe(entry));
    if (!entry.manifest || !entry.problem.empty()) {
      out.marked(Mark::Failure, fmt::format("{}  {}", entry.id, entry.problem));
      continue;
    }
    const auto state = !entry.disbelieved.empty()    ? "not verified: the record of that is none of ours"
                       : entry.proven()              ? "proven by restore"
                       : entry.verifications.empty() ? "not verified"
                       : entry.verifications.back().ok
                           ? fmt::format("verified to level {}", entry.verifications.back().level)
                           : "FAILED verification";
    out.marked(!entry.good() || !entry.disbelieved.empty() ? Mark::Failure
               : entry.verifications.empty()               ? Mark::Info
                                                           : Mark::Ok,
               fmt::format("{}  {:>9}  {}  {}  {}{}", entry.id, humanBytes(entry.manifest->storedSize()),
                           name(entry.manifest->kind), database::storedName(entry.manifest->engine), state,
                           entry.pinned ? fmt::format("  pinned: {}", printable(*entry.pinned, 60)) : ""));
  }
  if (entries.empty()) out.line(fmt::format("No backups in {}", place.describe()));
  out.document({{"directory", place.describe()}, {"backups", array}});
  return 0;
}

namespace {
// Throws Error(Damaged) for what does not hold; answers what was found.
backup::VerifyReport verifyOne(Context& context, const Options& options, const backup::Repository& repository,
                               const backup::Entry& entry, std::optional<std::uint64_t> most_log = std::nullopt) {
  backup::VerifyOptions how;
  how.level = static_cast<int>(options.level.value_or(2));
  how.keyring = &context.backupKeyring();
  if (most_log) how.most_log = *most_log;
  if (context.config().usesPostgres()) how.postgres = context.target();
  // What is found is kept beside the backup, when the backup is one of the local repository's own.
  std::error_code ignored;
  const bool own = repository.directory().isLocal() && entry.directory.isLocal() && !options.from &&
                   fs::equivalent(entry.directory.parent().parent().path(), repository.directory().path(), ignored);
  const auto record = [&](int reached, bool good, const std::string& message) {
    if (own) repository.recordVerification(entry, {reached, good, nowMicros(), message});
  };
  ShownProgress shown(context.out(), "verify");
  how.progress = shown.get();
  if (options.every_kind && entry.manifest) within(how.progress, name(entry.manifest->kind));
  try {
    auto report = backup::verifyBackup(entry, how);
    record(report.level, true, report.message);
    return report;
  } catch (const Error& error) {
    // A key that the backup does not name tells nothing about it.
    const bool can_tell = !entry.manifest || how.keyring->has(entry.manifest->key_id);
    if (error.code() == Code::Damaged && can_tell) record(how.level, false, error.what());
    throw;
  }
}

json::object show(const Output& out, const backup::VerifyReport& report) {
  out.marked(Mark::Ok, fmt::format("{}: {} ({})", report.id, report.message, humanDuration(report.seconds)));
  json::array warnings;
  for (const auto& line : report.warnings) {
    warnings.push_back(json::string(line));
    out.marked(Mark::Warning, line + "\n    → look at the live data: is this what you expect?");
  }
  if (!report.log_problem.empty())
    out.marked(
        Mark::Failure,
        report.log_problem + "\n    → make a new one of its kind: aragora backup create (--kind base for a cluster)");
  return {
      {"id", report.id},
      {"verified", true},
      {"level", report.level},
      {"message", report.message},
      {"warnings", warnings},
      {"log_problem", report.log_problem.empty() ? json::value(nullptr) : json::value(report.log_problem)},
      {"replayed", report.replayed ? json::value(json::object{{"timeline", report.replayed->timeline},
                                                              {"through", backup::formatLsn(report.replayed->through)},
                                                              {"to_the_end", report.replayed->whole}})
                                   : json::value(nullptr)},
      {"seconds", report.seconds}};
}

// Asked once for all kinds; what could not be asked is part of the result.
backup::ToldHeads askDatabase(Context& context, const storage::Place& place) {
  auto told = backup::toldHeads(context.target(), place, context.backupKeyring());
  if (!told.failure.empty()) context.out().marked(Mark::Warning, told.failure);
  return told;
}

// Whether all that was made is there: true when something is gone.
bool missesSome(Context& context, const backup::Repository& repository, const backup::ToldHeads& told,
                json::array& gone) {
  const auto& place = repository.directory();
  const auto findings = backup::compareWithLedger(place, repository.kind(), repository.list(), context.backupKeyring(),
                                                  told.of(repository.kind()));
  for (const auto& id : findings.gone) gone.push_back(json::string(id));
  if (findings.none)
    context.out().marked(Mark::Info, fmt::format("which {} backups were made is not recorded in {} yet: the next "
                                                 "backup begins it",
                                                 name(repository.kind()), place.describe()));
  if (findings.problem.empty()) return false;
  context.out().marked(Mark::Failure, findings.problem + "\n    → " + findings.hint);
  return true;
}

// Any older base backup, with the log from it to the next one: over the nights every day of the log is replayed.
struct Sample {
  backup::Entry entry;
  std::uint64_t log = 0;
};
std::optional<Sample> sampleOf(const std::vector<backup::Entry>& entries) {
  std::vector<Sample> samples;
  for (std::size_t i = 0; i + 1 < entries.size(); ++i) {
    const auto& one = entries[i].manifest;
    const auto& next = entries[i + 1].manifest;
    if (!entries[i].good() || !entries[i + 1].good() || !one->physical || !next->physical) continue;
    if (one->physical->timeline != next->physical->timeline || one->physical->stop >= next->physical->stop) continue;
    samples.push_back({entries[i], next->physical->stop - one->physical->stop});
  }
  if (samples.empty()) return std::nullopt;
  std::random_device random;
  return samples[random() % samples.size()];
}

// Every kind, also when one does not hold; the worst decides.
int verifyEveryKind(Context& context, const Options& options, const storage::Place& place) {
  json::array found;
  json::array gone;
  bool damaged = false;
  const auto told = askDatabase(context, place);
  for (const auto kind : backup::allKinds()) {
    const backup::Repository repository(place, &context.backupKeyring(), kind);
    damaged |= missesSome(context, repository, told, gone);
    const auto entries = repository.list();
    if (entries.empty()) continue;
    const auto look = [&](const backup::Entry& entry, std::optional<std::uint64_t> most_log) {
      try {
        const auto report = verifyOne(context, options, repository, entry, most_log);
        damaged |= !report.log_problem.empty();
        found.push_back(show(context.out(), report));
      } catch (const Error& error) {
        if (error.code() != Code::Damaged) throw;
        damaged = true;
        context.out().marked(Mark::Failure, error.what());
        found.push_back(json::object{{"id", entry.id}, {"verified", false}, {"message", std::string(error.what())}});
      }
    };
    look(entries.back(), std::nullopt);
    const auto sample = options.level.value_or(2) >= 2 ? sampleOf(entries) : std::nullopt;
    if (sample) look(sample->entry, std::min(sample->log, backup::VerifyOptions().most_log));
  }
  if (found.empty())
    throw Error(Code::NoInput, fmt::format("there is no backup in {}", place.describe()),
                "make one with: aragora backup");
  context.out().document({{"backups", found},
                          {"gone", gone},
                          {"not_asked", told.failure.empty() ? json::value(nullptr) : json::value(told.failure)}});
  return damaged ? info(Code::Damaged).exit_status : 0;
}
}  // namespace

int verify(Context& context, const Options& options) {
  const auto level = options.level.value_or(2);
  if (level < 0 || level > 2) throw Error(Code::Usage, "--level takes 0, 1 or 2");
  if (options.every_kind && options.input)
    throw Error(Code::Usage, "--every-kind and --input exclude each other", "leave one out");
  const auto place = context.backups(options.output, options.from);
  if (!options.from) requireOurs(context, context.backupDirectory(options.output), Unknown::Warn);
  if (options.every_kind) return verifyEveryKind(context, options, place);
  const auto [repository, entry] = findAnyKind(context, place, options.input.value_or("latest"));
  const auto report = verifyOne(context, options, repository, entry);
  auto document = show(context.out(), report);
  json::array gone;
  const auto told = askDatabase(context, repository.directory());
  const bool incomplete = missesSome(context, repository, told, gone);
  document["gone"] = gone;
  document["not_asked"] = told.failure.empty() ? json::value(nullptr) : json::value(told.failure);
  context.out().document(document);
  return report.log_problem.empty() && !incomplete ? 0 : info(Code::Damaged).exit_status;
}

}  // namespace aragora::cli::backups
