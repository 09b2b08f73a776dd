// The log of matches, the ratings that are stored and the pages that are counted from it, on both engines.
#include <gtest/gtest.h>

#include "common/base/ids.h"
#include "common/base/interrupt.h"
#include "common/crypto/hash.h"
#include "common/migrate/migrator.h"
#include "common/store/debates.h"
#include "common/store/leases.h"
#include "common/store/rating_repair.h"
#include "common/store/standings.h"
#include "tests/integration/services.h"

namespace aragora::store {
namespace {

using database::Connection;
using database::Engine;
using namespace std::chrono_literals;

class RatingLog : public testing::TestWithParam<Engine> {
 protected:
  TestDatabase test_{GetParam()};
  crypto::Keyring keyring_{Secret(toHex(crypto::randomBytes(32)))};
  std::unique_ptr<database::Database> database_ =
      (migrate::Migrator(test_.target()).up(), database::openDatabase(test_.target()));
  Debates debates_{*database_, keyring_};
  Leases leases_{*database_, "here"};
  Standings standings_{*database_};

  void sql(const std::string& text, const database::Values& values = {}) {
    database_->write([&](Connection& connection) { connection.query(text, values); });
  }
  std::int64_t count(const std::string& from) { return database_->query("SELECT count(*) FROM " + from)[0].integer(0); }
  std::string create() {
    Debate debate;
    debate.id = newUlid();
    debate.task = "a task";
    debate.agents = {"a", "b"};
    debate.consensus_kind = "majority";
    debate.created_at = nowMicros();
    debates_.create(debate);
    return debate.id;
  }
  // `winner` has the vote of the other.
  static ratings::Match match(const std::string& winner, const std::string& loser, const std::string& domain = "") {
    return {domain,
            {{winner, winner, "openai", winner + "-1", 1}, {loser, loser, "openai", loser + "-1", 0}},
            {{loser, winner}}};
  }
  std::string play(const ratings::Match& match) {
    const auto id = create();
    const auto lease = leases_.acquire(id, 5s);
    debates_.append(*lease, {{0, "", MatchRecorded{match}}, {0, "", DebateEnded{}}},
                    {.status = DebateStatus::Completed, .completed = true});
    leases_.release(*lease);
    return id;
  }
  double elo(const std::string& name) {
    const auto found = standings_.history(name, 1);
    return found ? found->entry.rating.elo : 0;
  }
};

TEST_P(RatingLog, WhatWasCountedAheadIsNotWalkedAgainAndAnInterruptEndsTheWalkAtOnce) {
  play(match("a", "b"));
  play(match("a", "b"));
  Standings told(*database_);
  {
    const interrupt::Switch stopping;
    stopping.turn();
    const interrupt::Minding minding(stopping);
    EXPECT_THROW(told.warm(), Error);
  }
  Standings warm(*database_);
  EXPECT_EQ(warm.warm(), 2);
  EXPECT_EQ(told.page({}).entries.at(0).rating.matches, 2) << "whoever asks then walks it";
  sql("DELETE FROM matches");
  EXPECT_EQ(warm.page({}).entries.at(0).rating.matches, 2);
  EXPECT_EQ(Standings(*database_).page({}).total, 0);
}

TEST_P(RatingLog, PagesTakeInWhatWasRecordedAndForgetWhatWasDeleted) {
  EXPECT_EQ(standings_.page({}).total, 0);
  play(match("a", "b", "law"));
  EXPECT_NEAR(elo("openai:a-1"), 1516, 1e-9);
  EXPECT_NEAR(elo("a"), 1516, 1e-9) << "by the name of the agent, too";
  const auto second = play(match("a", "b"));
  EXPECT_GT(elo("openai:a-1"), 1530);
  EXPECT_EQ(standings_.page({.domain = "law"}).entries.at(0).rating.matches, 1);
  EXPECT_EQ(standings_.history("a", 10)->points.size(), 2U);
  std::string missing;
  EXPECT_EQ(standings_.compare("a", "b", missing)->won, 2);
  EXPECT_FALSE(standings_.compare("a", "nobody", missing));
  EXPECT_EQ(missing, "nobody");
  database_->write([&](Connection& connection) { Debates::remove(connection, second); });
  EXPECT_NEAR(elo("openai:a-1"), 1516, 1e-9);
  EXPECT_EQ(standings_.recent(10).size(), 1U);
  EXPECT_NEAR(Standings(*database_).page({}).entries.at(0).rating.elo, 1516, 1e-9) << "as whoever starts anew";
}

TEST_P(RatingLog, WhatIsStoredIsWhatTheLogGives) {
  for (int i = 0; i < 20; ++i) play(i % 3 == 0 ? match("a", "b") : match("b", "c"));
  database_->read([](Connection& connection) {
    const auto stored = Ratings::stored(connection);
    const auto counted = Ratings::recount(connection);
    ASSERT_EQ(stored.size(), 3U);
    for (const auto& [name, rating] : counted.ratings()) EXPECT_TRUE(Ratings::same(rating, stored.at(name))) << name;
  });
}

TEST_P(RatingLog, AnEndThatIsNotWrittenIsNotCounted) {
  const auto id = create();
  const auto lease = leases_.acquire(id, 5s);
  auto lost = *lease;
  lost.epoch += 1;
  EXPECT_THROW(debates_.append(lost, {{0, "", MatchRecorded{match("a", "b")}}}), Error);
  EXPECT_EQ(count("matches") + count("ratings"), 0);
}

// As versions before migration 11 left them.
TEST_P(RatingLog, OldMatchesCountForTheModelThatAnswered) {
  for (const bool called : {true, false}) {
    const auto id = create();
    sql("INSERT INTO matches (id, debate_id, winner, participants, scores, created_at) VALUES ($1, $2, 'claude', "
        "'[\"claude\",\"demo-a\"]', '[2,1]', $3)",
        {newUlid(), id, nowMicros()});
    if (!called) continue;
    for (const auto& [agent, provider, model] :
         {std::tuple("claude#1", "anthropic", "claude-x"), std::tuple("demo-a", "demo", "demo")})
      sql("INSERT INTO agent_calls (id, debate_id, phase, round, agent, attempt, provider, model, status, "
          "request_hash, "
          "started_at) VALUES ($1, $2, 'propose', 0, $3, 1, $4, $5, 'done', 'x', 1)",
          {newUlid(), id, std::string(agent), std::string(provider), std::string(model)});
  }
  EXPECT_TRUE(bringRatingsUpToDate(*database_));
  EXPECT_FALSE(bringRatingsUpToDate(*database_)) << "once";
  database_->read([](Connection& connection) {
    const auto stored = Ratings::stored(connection);
    ASSERT_EQ(stored.size(), 3U);
    EXPECT_NEAR(stored.at("anthropic:claude-x").elo, 1516, 1e-9);
    EXPECT_EQ(stored.at("claude").matches, 1) << "nobody says who answered";
    EXPECT_EQ(stored.at("demo-a").matches, 2);
  });
}

TEST_P(RatingLog, RepairMakesTheLogWhatEventsSayAndLeavesWhatHolds) {
  const auto first = play(match("a", "b"));
  const auto second = play(match("b", "a"));
  bringRatingsUpToDate(*database_);
  EXPECT_TRUE(inspectRatings(*database_).sound());
  EXPECT_GT(elo("openai:a-1"), 0);
  sql("DELETE FROM matches WHERE debate_id = $1", {first});
  sql("UPDATE matches SET record = replace(record, '\"votes\":1', '\"votes\":7')");
  const auto found = inspectRatings(*database_);
  EXPECT_EQ(found.restored, std::vector<std::string>{first});
  EXPECT_EQ(found.changed, std::vector<std::string>{second});
  int told = 0;
  repairRatings(*database_, [&](Connection&, const RatingRepair&) { ++told; });
  EXPECT_TRUE(inspectRatings(*database_).sound());
  EXPECT_TRUE(repairRatings(*database_, [&](Connection&, const RatingRepair&) { ++told; }).sound());
  EXPECT_EQ(told, 1) << "what is sound is no entry";
  EXPECT_EQ(standings_.history("a", 10)->points.size(), 2U) << "pages took it in anew";
}

INSTANTIATE_TEST_SUITE_P(Engines, RatingLog, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::store
