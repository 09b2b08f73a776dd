#include <gtest/gtest.h>

#include <random>

#include "common/audit/audit.h"
#include "common/base/text.h"
#include "common/migrate/migrator.h"
#include "tests/integration/services.h"

namespace aragora::audit {
namespace {

using database::Engine;
using database::Rows;

constexpr const char* kColumns =
    "seq, at, actor, action, object, result, ip_address, request_id, details, key_id, prev_hash, hash";
constexpr std::size_t kPrevious = 10;
constexpr std::size_t kHash = 11;
using Log = std::vector<std::vector<std::string>>;

class AuditLog : public testing::TestWithParam<Engine> {
 protected:
  AuditLog() : test_(GetParam()) {
    migrate::Migrator(test_.target()).up();
    database_ = database::openDatabase(test_.target());
  }

  void record(int count) {
    for (int i = 0; i < count; ++i)
      database_->write([&](database::Connection& connection) {
        append(connection, keyring_,
               {fmt::format("user:{}", i % 3), i % 2 == 0 ? "debate.create" : "session.login",
                fmt::format("debate:{}", i), "success", "192.0.2.1", fmt::format("r-{}", i), json::object{{"n", i}}});
      });
  }

  Log read() {
    Log log;
    for (const auto& row : database_->query(fmt::format("SELECT {} FROM audit_log ORDER BY seq", kColumns))) {
      auto& entry = log.emplace_back();
      for (std::size_t column = 0; column <= kHash; ++column) entry.push_back(row.text(column));
    }
    return log;
  }

  // The first bad entry, by the chain or by what somebody wrote down of it. In a transaction that is rolled back.
  std::optional<std::int64_t> firstBad(const Log& log, const std::vector<Witness>& witnesses) {
    const auto connection = database::connect(test_.target());
    const database::Transaction transaction(*connection, "BEGIN");
    connection->query("DELETE FROM audit_log");
    for (const auto& entry : log) {
      std::string values;
      for (std::size_t column = 0; column <= kHash; ++column)
        values += (column > 0 ? ", '" : "'") + replaceAll(entry[column], "'", "''") + "'";
      connection->query(fmt::format("INSERT INTO audit_log ({}) VALUES ({})", kColumns, values));
    }
    try {
      if (const auto chain = verifyChain(*connection, keyring_); chain.first_bad) return chain.first_bad;
    } catch (const Error& error) {  // of a key that nobody has: cannot be checked, which is no «holds» either
      return numberIn(error.what(), "audit entry ");
    }
    const auto said = contradiction(*connection, witnesses, 0);
    if (!said) return std::nullopt;
    if (const auto last = numberIn(*said, "ends at entry ")) return *last + 1;
    return numberIn(*said, "entry ");
  }

  static std::optional<std::int64_t> numberIn(const std::string& text, const std::string& before) {
    const auto at = text.find(before);
    if (at == std::string::npos) return std::nullopt;
    const auto digits = text.substr(at + before.size());
    return parseInteger(digits.substr(0, digits.find_first_not_of("0123456789")));
  }

  TestDatabase test_;
  crypto::Keyring keyring_{Secret(std::string(64, 'a'))};
  std::unique_ptr<database::Database> database_;
};

struct Tampered {
  Log log;
  std::size_t place = 0;  // the first that is not as it was
};

enum class Kind { Value, Gone, Swapped, MadeAnew, Inserted, Cut, Emptied, Replayed };
constexpr std::size_t kKinds = 8;

void renumber(Log& log) {
  for (std::size_t i = 0; i < log.size(); ++i) log[i][0] = fmt::format("{}", i + 1);
}

Tampered tamper(Log log, Kind kind, std::mt19937& dice) {
  const auto any = [&](std::size_t below) { return std::uniform_int_distribution<std::size_t>(0, below - 1)(dice); };
  auto place = any(log.size());
  const auto from = [&](std::size_t at) { return log.begin() + static_cast<std::ptrdiff_t>(at); };
  switch (kind) {
    case Kind::Value: {
      auto& value = log[place][1 + any(kHash)];
      value.back() = value.back() == '1' ? '2' : '1';
      break;
    }
    case Kind::Gone:  // with its number, or those behind it move up
      place = any(log.size() - 1);
      log.erase(from(place));
      if (any(2) == 0) renumber(log);
      break;
    case Kind::Swapped: {
      const auto other = (place + 1 + any(log.size() - 1)) % log.size();
      std::swap(log[place], log[other]);
      std::swap(log[place][0], log[other][0]);
      place = std::min(place, other);
      break;
    }
    case Kind::MadeAnew:  // the chain, from there on, without the key
      for (auto later = place; later < log.size(); ++later) {
        log[later][2] = "forged";
        log[later][kHash] = std::string(64, "0123456789abcdef"[any(16)]);
        if (later + 1 < log.size()) log[later + 1][kPrevious] = log[later][kHash];
      }
      break;
    case Kind::Inserted: {  // anywhere, behind the last one too
      place = any(log.size() + 1);
      auto forged = log[any(log.size())];
      forged[2] = "forged";
      if (place > 0) forged[kPrevious] = log[place - 1][kHash];
      log.insert(from(place), forged);
      renumber(log);
      break;
    }
    case Kind::Cut:
    case Kind::Replayed:  // an older file: the log as it was once
      log.resize(place);
      break;
    case Kind::Emptied:
      place = 0;
      log.clear();
  }
  return {std::move(log), place};
}

TEST_P(AuditLog, AThousandChangesAreAllFoundWithTheFirstBadEntry) {
  record(12);
  const auto log = read();
  const std::vector<Witness> witnesses{{"a test", 1000, head(*database::connect(test_.target()))}};
  ASSERT_EQ(firstBad(log, witnesses), std::nullopt);
  std::mt19937 dice(20261127);
  for (int i = 0; i < 1000; ++i) {
    const auto kind = static_cast<Kind>(static_cast<std::size_t>(i) % kKinds);
    const auto tampered = tamper(log, kind, dice);
    EXPECT_EQ(firstBad(tampered.log, witnesses), static_cast<std::int64_t>(tampered.place) + 1)
        << i << ", kind " << static_cast<int>(kind);
  }
}

// An older file of the database that goes on, with the key: the chain holds, and others saw another.
TEST_P(AuditLog, AnOlderStateThatGoesOnIsMissed) {
  record(6);
  const auto connection = database::connect(test_.target());
  std::vector<Witness> witnesses{{"a test", 1000, head(*connection)}};
  for (const int kept : {0, 3, 5}) {
    connection->query("DELETE FROM audit_log WHERE seq > $1", {std::int64_t{kept}});
    record(20);
    EXPECT_EQ(verifyChain(*connection, keyring_).first_bad, std::nullopt);
    EXPECT_NE(contradiction(*connection, witnesses, 0).value_or("").find("entry 6 is not the one"), std::string::npos);
  }
}

TEST_P(AuditLog, AWitnessMissesWhatWasCutOrReplaced) {
  record(6);
  const auto connection = database::connect(test_.target());
  const auto seen = head(*connection);
  EXPECT_EQ(seen.entries, 6);
  record(2);
  const std::vector<Witness> witnesses{{"a test", 1000, seen}};
  EXPECT_EQ(contradiction(*connection, witnesses, 0), std::nullopt);
  connection->query("DELETE FROM audit_log WHERE seq > 6");
  EXPECT_EQ(contradiction(*connection, witnesses, 0), std::nullopt);
  connection->query("DELETE FROM audit_log WHERE seq > 5");
  EXPECT_NE(contradiction(*connection, witnesses, 0).value_or("").find("ends at entry 5, but a test"),
            std::string::npos);
  EXPECT_EQ(contradiction(*connection, witnesses, 1001), std::nullopt) << "an older state was restored since";
  record(3);  // by somebody who has the key: the chain holds
  EXPECT_EQ(verifyChain(*connection, keyring_).first_bad, std::nullopt);
  EXPECT_NE(contradiction(*connection, witnesses, 0).value_or("").find("entry 6 is not the one"), std::string::npos);
  EXPECT_EQ(contradiction(*connection, {{"nobody", 1000, {}}}, 0), std::nullopt);
}

TEST_P(AuditLog, EntriesAreFoundByWhatTheySay) {
  record(9);
  const auto seqs = [&](const Filter& filter) {
    std::vector<std::int64_t> found;
    for (const auto& one : entries(*database_, filter)) found.push_back(one.seq);
    return found;
  };
  using Seqs = std::vector<std::int64_t>;
  EXPECT_EQ(seqs({.limit = 3}), (Seqs{9, 8, 7}));
  EXPECT_EQ(seqs({.before = 7, .limit = 3}), (Seqs{6, 5, 4}));
  EXPECT_EQ(seqs({.actor = "user:1"}), (Seqs{8, 5, 2}));
  EXPECT_EQ(seqs({.action = "session.login"}), (Seqs{8, 6, 4, 2}));
  EXPECT_EQ(seqs({.action = "debate."}), (Seqs{9, 7, 5, 3, 1}));
  EXPECT_EQ(seqs({.action = "debate"}), Seqs{});
  EXPECT_EQ(seqs({.object = "debate:4"}), Seqs{5});
  EXPECT_EQ(seqs({.object = "' OR 1=1 --"}), Seqs{});
  const auto all = entries(*database_, {});
  EXPECT_EQ(seqs({.since = all[2].at, .until = all[1].at}).back(), all[2].seq);
  EXPECT_EQ(all[4].details, R"({"n":4})");
}

INSTANTIATE_TEST_SUITE_P(Engines, AuditLog, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::audit
