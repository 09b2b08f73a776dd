#include "common/verify/verify.h"

#include "common/audit/audit.h"
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/migrate/fingerprint.h"
#include "common/migrate/migrator.h"
#include "common/store/key_use.h"
#include "common/store/settings.h"
#include "common/verify/budgets.h"
#include "common/verify/debates.h"
#include "common/verify/leaderboard.h"
#include "common/verify/receipts.h"
#include "common/verify/result.h"

namespace aragora::verify {

using database::Connection;
using database::Engine;

bool Report::failed() const {
  return std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.outcome == Outcome::Failed; });
}
const Finding* Report::againstRestored() const {
  const auto found =
      std::find_if(findings.begin(), findings.end(), [](const Finding& f) { return f.against_restored; });
  return found == findings.end() ? nullptr : &*found;
}

Error Report::refusal(const std::string& where) const {
  std::vector<std::string> reasons;
  bool could_not = true;
  for (const auto& finding : findings) {
    if (!finding.against_restored) continue;
    reasons.push_back(fmt::format("{}: {}", finding.id, finding.message));
    could_not &= finding.outcome == Outcome::NotVerified;
  }
  const auto code = damaged ? Code::Damaged : could_not ? Code::CouldNotVerify : Code::CheckFailed;
  return {code, fmt::format("the restored data does not verify: {}", join(reasons, "; ")),
          fmt::format("the target was not touched; what was restored is kept: {}", where)};
}

namespace {
std::vector<std::string> lines(const std::vector<Finding>& findings, bool held) {
  std::vector<std::string> result;
  for (const auto& finding : findings) {
    if ((finding.outcome == Outcome::Ok) == held && !finding.against_restored)
      result.push_back(fmt::format("{}: {}", finding.id, finding.message));
  }
  return result;
}
}  // namespace

std::vector<std::string> Report::held() const { return lines(findings, true); }
std::vector<std::string> Report::warnings() const { return lines(findings, false); }

bool Report::incomplete() const {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& f) { return f.outcome == Outcome::NotVerified; });
}
int Report::exitStatus() const {
  if (damaged) return info(Code::Damaged).exit_status;
  if (failed()) return info(Code::CheckFailed).exit_status;
  return incomplete() ? info(Code::CouldNotVerify).exit_status : 0;
}

namespace {
class Verifier {
 public:
  Verifier(const database::Target& target, const Options& options) : target_(target), options_(options) {}

  Report run() {
    if (target_.engine == Engine::Sqlite && !fileExists(target_.path)) {
      throw Error(Code::NoInput, fmt::format("there is no database at {}", target_.path.string()),
                  "create it with: aragora migrate");
    }
    database_ = database::openDatabase(target_);
    database_->ping();
    learnKeptKeys();
    // What is wrong with the history or the schema says nothing about the data: the rest is looked at all the same.
    step("migrations", Subject::Schema, [this] { return migrations(); });
    if (version_ == 0) {
      for (const auto* id :
           {"schema", "integrity", "events", "audit", "encryption", "matches", "ratings", "receipts", "budgets"})
        report_.findings.push_back(
            {id, Outcome::NotVerified, "not looked at, because there is no schema", "run: aragora migrate", true});
      return std::move(report_);
    }
    step("schema", Subject::Schema, [this] { return schema(); });
    step("integrity", Subject::Data, [this] { return integrity(); });
    step("events", Subject::Data, [this] { return events(); });
    step("audit", Subject::Data, [this] { return auditChain(); });
    step("encryption", Subject::Data, [this] { return encryption(); });
    step("matches", Subject::Data, [this] { return matches(); });
    step("ratings", Subject::Data, [this] { return ratings(); });
    step("receipts", Subject::Data, [this] { return receipts(); });
    step("budgets", Subject::Data, [this] { return budgets(); });
    return std::move(report_);
  }

 private:
  // Of keys that are gone. Without a table of settings there are none.
  void learnKeptKeys() {
    if (options_.keyring == nullptr) return;
    ring_ = *options_.keyring;
    try {
      ring_ = database_->reading(
          [&](Connection& connection) { return store::withKeptKeys(connection, *options_.keyring); });
    } catch (const Error& error) {  // a step names what is missing
      if (error.code() == Code::Interrupted) throw;
    }
  }

  enum class Subject { Schema, Data };

  void step(const std::string& id, Subject subject, const std::function<Result()>& look) {
    begin(options_.progress, {"looking at " + id});
    const bool data = subject == Subject::Data;
    try {
      auto result = look();
      report_.findings.push_back({id, result.ok ? Outcome::Ok : Outcome::Failed, result.message, result.hint,
                                  !result.ok && (data || result.data_missing)});
      report_.damaged |= !result.ok && result.damage;
    } catch (const Error& error) {
      if (error.code() == Code::Damaged) {
        report_.findings.push_back({id, Outcome::Failed, error.what(), error.hint(), true});
        report_.damaged = true;
      } else {
        // An older schema may lack what the step reads.
        report_.findings.push_back(
            {id, Outcome::NotVerified, error.what(), error.hint(), data && !pending_ && !followed_});
        followed_ = false;
      }
    }
  }

  Result migrations() {
    const auto status = migrate::Migrator(target_).status();
    version_ = status.version();
    pending_ = !status.pending.empty();
    if (!status.drifted.empty())
      return bad(fmt::format("migration {} ({}) was applied with another content", status.drifted[0].version,
                             status.drifted[0].name),
                 "see: aragora migrate status");
    if (!status.unknown.empty())
      return bad(fmt::format("migration {} is unknown to this version", status.unknown[0].version),
                 migrate::wayBack(status.known), false);
    if (version_ < options_.expected_version) {
      auto lost = bad(fmt::format("the backup was of version {}, what is seen here is of version {}",
                                  options_.expected_version, version_),
                      "look at search_path before you migrate: the tables may lie in another schema");
      lost.data_missing = true;
      return lost;
    }
    if (!status.pending.empty())
      return bad(fmt::format("{} {} pending, the first is {}", counted(status.pending.size(), "migration"),
                             agreeing(status.pending.size(), "is", "are"), status.pending[0].name),
                 "run: aragora migrate", false);
    return {true, fmt::format("{} applied, checksums hold", status.applied.size())};
  }

  // Whether an expected table or column is not there at all; indexes and constraints hold no data.
  static bool isGone(const std::string& line, const migrate::Fingerprint& live) {
    if (!startsWith(line, "column ") && !startsWith(line, "table ")) return false;
    const auto object = line.substr(0, line.find(": ") + 2);
    const auto next = live.lower_bound(object);
    return next == live.end() || !startsWith(*next, object);
  }

  Result schema() {
    const auto expected = migrate::expectedSchema(target_, version_);
    const auto live = database_->reading([](Connection& connection) { return migrate::liveSchema(connection); });
    std::optional<Result> missing;
    for (const auto& line : expected) {
      if (live.count(line) > 0) continue;
      auto result = bad(fmt::format("missing or changed: {}", line),
                        "compare with the migrations; restore a backup if it was not on purpose");
      result.data_missing = isGone(line, live);
      if (!missing || result.data_missing) missing = std::move(result);
      if (missing->data_missing) break;
    }
    if (missing) return *missing;
    for (const auto& line : live) {
      if (expected.count(line) == 0)
        return bad(fmt::format("not of this version: {}", line), "remove it, or move it to another schema", false);
    }
    return {true, fmt::format("{} as expected", counted(live.size(), "object"))};
  }

  Result integrity() {
    return database_->reading([&](Connection& connection) -> Result {
      if (target_.engine == Engine::Sqlite) {
        const auto check = connection.query("PRAGMA integrity_check(1)", {});
        if (check.empty() || check[0].text(0) != "ok")
          return bad(fmt::format("SQLite reports: {}", check.empty() ? "nothing" : printable(check[0].text(0), 200)),
                     "restore a backup");
        const auto orphans = connection.query("PRAGMA foreign_key_check", {});
        if (!orphans.empty())
          return bad(fmt::format("row {} of {} refers to a missing row of {}", orphans[0].text(1), orphans[0].text(0),
                                 orphans[0].text(2)));
        return {true, "pages and foreign keys hold"};
      }
      std::size_t checked = 0;
      for (const auto& key :
           connection.query("SELECT c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text, f.attname, "
                            "c.convalidated, c.conname FROM pg_constraint c "
                            "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] JOIN "
                            "pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1] "
                            "WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace",
                            {})) {
        if (key.text(4) != "t") return bad(fmt::format("foreign key {} is not validated", key.text(5)));
        const auto orphan = connection.query(fmt::format("SELECT x.{1} FROM {0} x LEFT JOIN {2} y ON y.{3} = x.{1} "
                                                         "WHERE x.{1} IS NOT NULL AND y.{3} IS NULL LIMIT 1",
                                                         key.text(0), key.text(1), key.text(2), key.text(3)),
                                             {});
        if (!orphan.empty())
          return bad(fmt::format("{}.{} = {} refers to a missing row of {}", key.text(0), key.text(1),
                                 printable(orphan[0].text(0), 60), key.text(2)));
        ++checked;
      }
      return {true, fmt::format("{} {}", counted(checked, "foreign key"), agreeing(checked, "holds", "hold"))};
    });
  }

  Result events() {
    return database_->reading([&](Connection& connection) {
      Debates debates(connection, ring_ ? &*ring_ : nullptr, version_, options_.progress);
      auto result = debates.look();
      heads_ = debates.takeHeads();
      followed_ = debates.unverified().has_value();
      if (followed_) throw *debates.unverified();
      return result;
    });
  }

  const crypto::Keyring& keyring() const { return neededKeyring(ring_ ? &*ring_ : nullptr); }

  Result auditChain() {
    return database_->reading([&](Connection& connection) -> Result {
      constexpr const char* kAccept = "look at it, and at the log; then: aragora audit accept --reason …";
      if (const auto said = audit::contradiction(connection, options_.witnesses, options_.accepted_at))
        return bad(*said, "somebody cut or replaced the log; compare with that backup");
      if (!options_.forged.empty()) return bad(join(options_.forged, "; "), kAccept);
      // An empty one needs no key.
      const bool empty = connection.query("SELECT 1 FROM audit_log LIMIT 1", {}).empty();
      const auto chain = empty ? audit::ChainResult() : audit::verifyChain(connection, keyring());
      if (chain.first_bad)
        return bad(fmt::format("audit entry {}: {}", *chain.first_bad, chain.reason),
                   "somebody changed the log; compare with a backup");
      if (const auto wrong = strangers(connection); !wrong.empty())
        return bad(wrong, "somebody changed it; compare with a backup");
      const auto saw = options_.witnesses.empty() ? std::string()
                                                  : fmt::format(", nothing is missing that {} saw",
                                                                counted(options_.witnesses.size(), "witness"));
      const auto held = chain.entries == 0 ? "no entries yet"
                                           : fmt::format("{}, chain holds{}{}", counted(chain.entries, "entry"), saw,
                                                         vanished(connection));
      if (!options_.unread.empty())
        throw Error(Code::CouldNotVerify, fmt::format("{}; not compared with {}", held, join(options_.unread, "; ")),
                    "try again when it answers");
      return {true, held};
    });
  }

  // Whose a debate is, by who created it: in the log since creations are.
  static std::string strangers(Connection& connection) {
    for (const auto& row : connection.query("SELECT d.id, a.actor, a.seq FROM audit_log a JOIN debates d ON d.id = "
                                            "substr(a.object, 8) WHERE a.action = 'debate.create' AND a.result = "
                                            "'success' AND 'api:' || coalesce(d.owner_id, '') <> a.actor LIMIT 1",
                                            {}))
      return fmt::format("debate {} is not owned by {}, who created it (entry {})", row.text(0),
                         printable(row.text(1), 60), row.text(2));
    return {};
  }

  // Debates of the log that are not there and were not deleted by us. No failure: somebody may have made room by hand.
  static std::string vanished(Connection& connection) {
    const auto gone =
        connection
            .query(
                "SELECT count(*) FROM audit_log a LEFT JOIN debates d ON d.id = substr(a.object, 8) WHERE a.action = "
                "'debate.create' AND a.result = 'success' AND d.id IS NULL AND a.object NOT IN (SELECT object FROM "
                "audit_log WHERE action = 'debate.delete')",
                {})[0]
            .integer(0);
    if (gone == 0) return {};
    return fmt::format("; {} of it {} neither there nor deleted by an entry", counted(gone, "debate"),
                       agreeing(gone, "is", "are"));
  }

  Result encryption() {
    return database_->reading([&](Connection& connection) -> Result {
      const auto stored = store::readSetting(connection, store::kKeyCheck);
      if (stored && !keyring().knows(*stored)) {
        return bad(fmt::format("ARAGORA_ENCRYPTION_KEY is not the key of this database (key {}, database has {})",
                               keyring().checkValue().substr(0, 8), stored->substr(0, 8)),
                   "use the key that was in force before", false);
      }
      std::int64_t opened = 0;
      for (const auto& row : connection.query("SELECT id, mfa_secret FROM users WHERE mfa_secret IS NOT NULL", {})) {
        keyring().open(row.text(1), fmt::format("users|mfa_secret|{}", row.text(0)));
        ++opened;
      }
      return {true, stored ? fmt::format("the key is the one in use, {} sealed values open", opened)
                           : std::string("no key has been used with this database yet")};
    });
  }

  static constexpr int kMatchRecords = 11;  // the migration since which the log has them
  void requireRecords() const {
    if (version_ < kMatchRecords)
      throw Error(Code::CouldNotVerify,
                  fmt::format("not looked at: the schema is of before migration {}", kMatchRecords),
                  "run: aragora migrate");
  }

  Result matches() {
    requireRecords();
    if (!heads_)
      throw Error(Code::CouldNotVerify, "not looked at, because the events do not hold", "see the step before");
    return database_->reading([this](Connection& connection) { return matchesHold(connection, *heads_); });
  }

  Result ratings() {
    requireRecords();
    return database_->reading([](Connection& connection) { return ratingsFollow(connection); });
  }

  Result receipts() {
    constexpr int kFirstVersion = 12;
    if (version_ < kFirstVersion) return {true, "none: they came with a later schema"};
    return database_->reading([&](Connection& connection) -> Result {
      return {true, receiptsHold(connection, ring_ ? &*ring_ : nullptr, options_.progress)};
    });
  }

  Result budgets() {
    constexpr int kSince = 9;
    if (version_ < kSince) return {true, "no budgets in this version of the schema"};
    return database_->reading([&](Connection& connection) -> Result {
      const auto seen = lookAtBudgets(connection);
      if (!seen.wrong.empty()) return bad(seen.wrong, "somebody changed it; compare with a backup");
      const auto overruns =
          seen.overruns == 0 ? std::string()
                             : fmt::format("; {} charged beyond what was reserved: prices in models.toml are too low",
                                           counted(seen.overruns, "budget"));
      return {true, fmt::format("{} {} from {}, none above its cap{}", counted(seen.budgets, "budget"),
                                agreeing(seen.budgets, "follows", "follow"), counted(seen.calls, "call"), overruns)};
    });
  }

  const database::Target& target_;
  const Options& options_;
  std::unique_ptr<database::Database> database_;
  std::optional<crypto::Keyring> ring_;
  Report report_;
  int version_ = 0;
  bool pending_ = false;
  bool followed_ = false;
  std::optional<Heads> heads_;  // none: the events do not hold
};
}  // namespace

Report verifyDatabase(const database::Target& target, const Options& options) {
  return Verifier(target, options).run();
}

}  // namespace aragora::verify
