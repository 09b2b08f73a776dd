// What two do to one debate at the same moment, and what it costs the others, on both engines.
#include <gtest/gtest.h>

#include "common/crypto/hash.h"
#include "common/migrate/migrator.h"
#include "common/store/event_chain.h"
#include "common/verify/verify.h"
#include "daemon/debate/service.h"
#include "tests/integration/between.h"

namespace aragora::debate {
namespace {

using database::Connection;
using database::Engine;
using namespace std::chrono_literals;

// Something happens before each of the first writes of somebody else.
class Disturbed : public Between {
 public:
  using Between::Between;
  std::vector<std::function<void()>> disturbances;
  std::size_t writes = 0;
  void write(const Work& work) override {
    if (writes++ < disturbances.size()) disturbances[writes - 1]();
    Between::write(work);
  }
};

class DebatesAtOnce : public testing::TestWithParam<Engine> {
 protected:
  TestDatabase test_{GetParam()};
  crypto::Keyring keyring_{Secret(toHex(crypto::randomBytes(32)))};
  std::unique_ptr<database::Database> database_ =
      (migrate::Migrator(test_.target()).up(), database::openDatabase(test_.target()));
  Between between_{*database_, test_.target()};
  store::Debates debates_{between_, keyring_};
  store::Leases leases_{*database_, "here"};
  providers::Providers providers_{{}};
  metrics::Registry metrics_;
  std::function<void(const store::Event&)> publish_ = [](const store::Event&) {};
  debate::Engine engine_{{*database_, keyring_, debates_, leases_, providers_, metrics_, publish_, 5s, 600s}, {}};
  Service service_{{between_, debates_, keyring_, engine_, [](Change, const std::string&) {}, publish_}};
  const Caller somebody_{.principal = "somebody"};

  void sql(const std::string& text, const database::Values& values = {}) {
    database_->write([&](Connection& connection) { connection.query(text, values); });
  }
  std::int64_t count(const std::string& from) { return database_->query("SELECT count(*) FROM " + from)[0].integer(0); }
  std::string create(const std::string& owner = "somebody") {
    store::Debate debate;
    debate.id = newUlid();
    debate.task = "a task";
    debate.agents = {"a", "b"};
    debate.consensus_kind = "majority";
    debate.owner = owner;
    debate.created_at = nowMicros();
    debates_.create(debate);
    return debate.id;
  }
  // With a match, and over.
  std::string played(const std::vector<std::string>& agents) {
    const auto id = create();
    ratings::Match match;
    for (std::size_t i = 0; i < agents.size(); ++i)
      match.seats.push_back({agents[i], agents[i], "", "", static_cast<std::int64_t>((plays_ + i) % agents.size())});
    ++plays_;
    const auto lease = leases_.acquire(id, 5s);
    debates_.append(*lease, {{0, "", store::MatchRecorded{match}}});
    leases_.release(*lease);
    sql("UPDATE debates SET status = 'completed' WHERE id = $1", {id});
    return id;
  }
  void expectRatingsToFollow() {
    for (const auto& finding : verify::verifyDatabase(test_.target(), {}).findings) {
      if (finding.id == "ratings") {
        EXPECT_EQ(finding.outcome, verify::Outcome::Ok) << finding.message;
        EXPECT_NE(finding.message.find("from the match log"), std::string::npos) << finding.message;
      }
    }
  }
  std::size_t plays_ = 0;
};

TEST_P(DebatesAtOnce, WhatEndsBeforeItIsCancelledWasNotCancelled) {
  for (const auto& [end, expected] : {std::pair("UPDATE debates SET status = 'completed'", "CONFLICT"),
                                      std::pair("DELETE FROM debates", "NOT_FOUND")}) {
    const auto id = create();
    // In the look that cancel() takes it has not ended; afterwards it has.
    Disturbed ending(*database_, test_.target());
    ending.disturbances.emplace_back([&, end = end] { sql(fmt::format("{} WHERE id = $1", end), {id}); });
    Service service({ending, debates_, keyring_, engine_, [](Change, const std::string&) {}, publish_});
    EXPECT_EQ(refusalOf([&] { service.cancel(id, somebody_); }), expected);
  }
  EXPECT_EQ(count("audit_log WHERE action = 'debate.cancel'"), 0);
}

TEST_P(DebatesAtOnce, TheQuotaLooksAtOpenDebatesOnly) {
  database_->write([](Connection& connection) {
    for (int i = 0; i < 3000; ++i)
      connection.later(
          {"INSERT INTO debates (id, task, status, agents, rounds, consensus_kind, seed, owner_id, "
           "created_at, updated_at) VALUES ($1, 'x', $2, '[]', 1, 'majority', 1, 'somebody', $3, $3)",
           {newUlid(), std::string(i % 1000 == 0 ? "running" : "completed"), std::int64_t{i + 1}}});
  });
  sql("ANALYZE debates");
  store::Debate draft;
  draft.task = "one more";
  draft.agents = {"a", "b"};
  draft.consensus_kind = "majority";
  const auto attempt = [&](std::int64_t at_once) {
    return refusalOf([&] {
      service_.create(draft, {.principal = "somebody", .quota = {.at_once = at_once}},
                      [](const store::Debate& debate) { return debate.id; });
    });
  };
  EXPECT_EQ(attempt(3), "RATE_LIMITED");
  EXPECT_EQ(attempt(4), "");
  EXPECT_EQ(attempt(4), "RATE_LIMITED");
  const auto asked = std::find_if(between_.asked.begin(), between_.asked.end(), [](const Between::Asked& one) {
    return one.sql.find("FROM debates WHERE") != std::string::npos && one.sql.find("count(*)") != std::string::npos;
  });
  ASSERT_NE(asked, between_.asked.end());
  std::string plan;
  const bool postgres = GetParam() == Engine::Postgres;
  for (const auto& row : database_->query((postgres ? "EXPLAIN " : "EXPLAIN QUERY PLAN ") + asked->sql, asked->values))
    plan += row.text(postgres ? 0 : 3) + "\n";
  EXPECT_NE(plan.find("debates_open"), std::string::npos) << plan;
}

TEST_P(DebatesAtOnce, AnIdempotencyKeyThatIsForgottenAtThatMomentIsTakenAnew) {
  const store::Debates::Idempotency key{"somebody", "key", "print", "answer"};
  const auto take = [&] {
    return between_.writing([&](Connection& connection) { return store::Debates::takeKey(connection, key, 1); });
  };
  EXPECT_FALSE(take());
  EXPECT_TRUE(take());
  between_.before("SELECT fingerprint", [&] { debates_.forgetAfterADay(); });
  EXPECT_NO_THROW(take());
  EXPECT_TRUE(between_.join());
  EXPECT_LE(count("idempotency_keys"), 1);
}

// 2500 matches, which is more than two batches, of debates that are over.
class ManyMatches : public DebatesAtOnce {
 protected:
  static constexpr int kMatches = 2500;
  std::vector<std::string> ids_;
  Disturbed disturbed_{*database_, test_.target()};
  Service disturbed_service_{{disturbed_, debates_, keyring_, engine_, [](Change, const std::string&) {}, publish_}};

  void SetUp() override {
    database_->write([this](Connection& connection) {
      for (int i = 0; i < kMatches; ++i) {
        ids_.push_back(newUlid());
        const std::int64_t at = 1000 + i / 3;  // several at one time: then the id decides
        connection.later(
            {"INSERT INTO debates (id, task, status, agents, rounds, consensus_kind, seed, created_at, "
             "updated_at) VALUES ($1, 'x', 'completed', '[]', 1, 'majority', 1, $2, $2)",
             {ids_.back(), at}});
        connection.later(
            {"INSERT INTO matches (id, debate_id, participants, scores, created_at) VALUES ($1, $2, $3, $4, $5)",
             {newUlid(), ids_.back(), fmt::format(R"(["a","b","c{}"])", i % 7),
              fmt::format("[{},{},{}]", i % 5, i % 3, i % 4), at}});
      }
    });
    database_->write([this](Connection& connection) { store::Debates::remove(connection, ids_.back()); });
    ids_.pop_back();
    expectRatingsToFollow();
    EXPECT_EQ(matchesOf("a"), kMatches - 1);
  }
  std::int64_t matchesOf(const std::string& agent) {
    return database_->query("SELECT matches FROM ratings WHERE agent_name = $1", {agent})[0].integer(0);
  }
  void removeElsewhere() {
    service_.remove(ids_.back(), somebody_, false);
    ids_.pop_back();
  }
  std::size_t readWhileOthersWait() const {
    std::size_t rows = 0;
    for (const auto& one : disturbed_.asked)
      if (one.sql.find("SELECT participants") != std::string::npos) rows += one.rows;
    return rows;
  }
};

TEST_P(ManyMatches, AreCountedWhereNobodyWaits) {
  disturbed_service_.remove(ids_[700], somebody_, false);
  EXPECT_EQ(readWhileOthersWait(), 0U);
  EXPECT_EQ(matchesOf("a"), kMatches - 2);
  expectRatingsToFollow();
}

TEST_P(ManyMatches, OnesThatComeMeanwhileAreAdded) {
  disturbed_.disturbances.emplace_back([&] { played({"a", "b"}); });
  disturbed_service_.remove(ids_[700], somebody_, false);
  EXPECT_EQ(readWhileOthersWait(), 1U);
  EXPECT_EQ(disturbed_.writes, 1U);
  EXPECT_EQ(matchesOf("a"), kMatches - 1);
  expectRatingsToFollow();
}

TEST_P(ManyMatches, AreCountedAgainWhenOthersAreRemovedMeanwhile) {
  disturbed_.disturbances.emplace_back([&] { removeElsewhere(); });
  disturbed_service_.remove(ids_[700], somebody_, false);
  EXPECT_EQ(disturbed_.writes, 2U);
  EXPECT_EQ(readWhileOthersWait(), 0U);
  EXPECT_EQ(matchesOf("a"), kMatches - 3);
  expectRatingsToFollow();
}

TEST_P(ManyMatches, AreNotCountedForEverByWhoIsAlwaysLate) {
  for (int i = 0; i < 20; ++i) disturbed_.disturbances.emplace_back([&] { removeElsewhere(); });
  disturbed_service_.remove(ids_[700], somebody_, false);
  EXPECT_LE(disturbed_.writes, 6U);
  EXPECT_GT(readWhileOthersWait(), 2000U) << "in the end while others wait";
  expectRatingsToFollow();
}

TEST_P(DebatesAtOnce, EachOldChainIsSealedByOneOfTwo) {
  for (int i = 0; i < 7; ++i) create();
  sql("UPDATE debates SET chain_seal = NULL");
  sql("UPDATE debate_events SET key_id = ''");
  const auto seal = [&](database::Database& database) {
    return database.writing([&](Connection& connection) { return store::sealChains(connection, keyring_, 5); });
  };
  std::int64_t theirs = 0;
  between_.before("UPDATE debates SET chain_seal", [&] { theirs = seal(*database_); });
  const auto ours = seal(between_);
  EXPECT_TRUE(between_.join());
  EXPECT_EQ(ours, 5);
  EXPECT_EQ(theirs, 2);
  EXPECT_EQ(count("debates WHERE chain_seal IS NULL"), 0);
}

TEST_P(DebatesAtOnce, OfADebateThatIsGoneThereIsNoLeaseAndNoMatch) {
  EXPECT_FALSE(leases_.acquire("nobody", 5s));
  const ratings::Match match{"", {{"a", "a", "", "", 1}, {"b", "b", "", "", 0}}, {}};
  EXPECT_THROW(debates_.append({"nobody", "here", 1}, {{0, "", store::MatchRecorded{match}}}), Error);
  EXPECT_EQ(count("matches") + count("ratings"), 0);
}

INSTANTIATE_TEST_SUITE_P(Engines, ManyMatches, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);
INSTANTIATE_TEST_SUITE_P(Engines, DebatesAtOnce, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::debate
