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

  // In a transaction that is rolled back.
  ChainResult verified(const Log& log) {
    ChainResult result;
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
      result = verifyChain(*connection, keyring_);
    } catch (const Error&) {  // of a key that nobody has
      result.first_bad = 0;
    }
    return result;
  }

  TestDatabase test_;
  crypto::Keyring keyring_{Secret(std::string(64, 'a'))};
  std::unique_ptr<database::Database> database_;
};

struct Tampered {
  Log log;
  std::size_t place = 0;  // the first that is not as it was
};

Tampered tamper(Log log, std::mt19937& dice) {
  const auto any = [&](std::size_t below) { return std::uniform_int_distribution<std::size_t>(0, below - 1)(dice); };
  auto place = any(log.size());
  switch (any(4)) {
    case 0: {  // one value
      auto& value = log[place][1 + any(kHash)];
      value.back() = value.back() == '1' ? '2' : '1';
      break;
    }
    case 1:  // an entry less; the last one is the business of witnesses
      place = any(log.size() - 1);
      log.erase(log.begin() + static_cast<std::ptrdiff_t>(place));
      break;
    case 2: {  // two in each other's place
      const auto other = (place + 1 + any(log.size() - 1)) % log.size();
      std::swap(log[place], log[other]);
      std::swap(log[place][0], log[other][0]);
      place = std::min(place, other);
      break;
    }
    default:  // the chain made anew from there on, without the key
      for (auto later = place; later < log.size(); ++later) {
        log[later][2] = "forged";
        log[later][kHash] = std::string(64, "0123456789abcdef"[any(16)]);
        if (later + 1 < log.size()) log[later + 1][kPrevious] = log[later][kHash];
      }
  }
  return {std::move(log), place};
}

TEST_P(AuditLog, AThousandChangesAreAllFoundWithTheFirstBadEntry) {
  record(12);
  const auto log = read();
  ASSERT_EQ(verified(log).first_bad, std::nullopt);
  std::mt19937 dice(20261127);
  for (int i = 0; i < 1000; ++i) {
    const auto tampered = tamper(log, dice);
    const auto result = verified(tampered.log);
    ASSERT_TRUE(result.first_bad) << i;
    // A key id that nobody has cannot be checked, which is no «holds» either.
    if (*result.first_bad == 0) continue;
    const auto first = static_cast<std::int64_t>(tampered.place) + 1;
    // Where one is missing, the next one is the first that does not fit.
    EXPECT_TRUE(*result.first_bad == first || *result.first_bad == first + 1) << i << ": " << *result.first_bad;
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
