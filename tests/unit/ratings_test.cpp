// Published vectors of Elo, Glicko-2 and Bradley-Terry, and what must hold whatever is played.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "common/ratings/bradley_terry.h"
#include "common/ratings/table.h"

namespace aragora::ratings {
namespace {

// M. Glickman's example: one player against three.
std::vector<Glicko> example(double deviation = 200) {
  return {{1500, deviation, 0.06}, {1400, 30, 0.06}, {1550, 100, 0.06}, {1700, 300, 0.06}};
}

TEST(Glicko, ThePapersExampleHolds) {
  const auto after = glickoAfter(example(), {{0, 1, 1}, {0, 2, 0}, {0, 3, 0}})[0];
  EXPECT_NEAR(after.rating, 1464.06, 0.02);
  EXPECT_NEAR(after.deviation, 151.52, 0.01);
  EXPECT_NEAR(after.volatility, 0.05999, 0.00001);
  // To the last digits, as another implementation gives them.
  EXPECT_NEAR(after.rating, 1464.0506705393013, 1e-6);
  EXPECT_NEAR(after.deviation, 151.51652412385727, 1e-6);
  EXPECT_NEAR(after.volatility, 0.059995984286488495, 1e-8);
}

TEST(Glicko, OneGameBetweenNewcomers) {
  const std::vector<Glicko> before(2);
  const auto won = glickoAfter(before, {{0, 1, 1}});
  EXPECT_NEAR(won[0].rating, 1662.3108939, 1e-4);
  EXPECT_NEAR(won[0].deviation, 290.3189637, 1e-4);
  EXPECT_NEAR(won[0].volatility, 0.0599996754, 1e-8);
  EXPECT_NEAR(won[1].rating, 1337.6891061, 1e-4);
  const auto drew = glickoAfter(before, {{1, 0, 0.5}});
  EXPECT_NEAR(drew[0].rating, 1500, 1e-9);
  EXPECT_NEAR(drew[0].deviation, 290.3189616, 1e-4);
  EXPECT_NEAR(drew[0].volatility, 0.0599989614, 1e-8);
}

TEST(Glicko, ThreeSeatsAreOnePeriodAndTheNextGoesOnFromIt) {
  auto seats = glickoAfter(std::vector<Glicko>(3), gamesOf(std::vector<double>{2, 1, 0}));
  EXPECT_NEAR(seats[0].rating, 1747.318072, 1e-4);
  EXPECT_NEAR(seats[0].deviation, 253.404602, 1e-4);
  EXPECT_NEAR(seats[1].rating, 1500, 1e-6);
  EXPECT_NEAR(seats[1].deviation, 253.404599, 1e-4);
  EXPECT_NEAR(seats[2].rating, 1252.681928, 1e-4);
  const auto third = seats[2];
  seats = glickoAfter(seats, {{0, 1, 0.5}});
  EXPECT_NEAR(seats[0].rating, 1688.740328, 1e-4);
  EXPECT_NEAR(seats[0].deviation, 227.630739, 1e-4);
  EXPECT_NEAR(seats[1].rating, 1558.577738, 1e-4);
  EXPECT_NEAR(seats[1].deviation, 227.630728, 1e-4);
  EXPECT_EQ(seats[2].deviation, third.deviation) << "it did not play: no period of its own";
}

TEST(Glicko, WhoDoesNotPlayIsKnownLessAndNeverLessThanNobody) {
  EXPECT_NEAR(idled({1500, 200, 0.06}, 1).deviation, 200.2714167, 1e-6);
  EXPECT_EQ(idled({1500, 349.9, 0.06}, 1e9).deviation, kMostDeviation);
  Rating rating{.name = "a", .glicko = {1500, 100, 0.06}, .last_match_at = 0};
  EXPECT_EQ(glickoAt(rating, kIdlePeriod - 1).deviation, 100);
  EXPECT_NEAR(glickoAt(rating, 2 * kIdlePeriod).deviation, idled(rating.glicko, 2).deviation, 1e-12);
}

TEST(Glicko, AMillionPeriodsOfChanceStayNumbers) {
  std::mt19937_64 random(4711);
  std::vector<Glicko> seats(8);
  for (int period = 0; period < 1'000'000; ++period) {
    if (period % 1000 == 0) {  // also where it never gets by itself
      for (auto& seat : seats)
        seat = {static_cast<double>(random() % 12'000) - 5'000, static_cast<double>(random() % 350'000) / 1000 + 0.01,
                static_cast<double>(random() % 1000 + 1) / 2000};
    }
    const std::size_t one = random() % 8;
    const std::size_t other = (one + 1 + random() % 7) % 8;
    seats = glickoAfter(seats, {{one, other, static_cast<double>(random() % 3) / 2}});
    for (const auto played : {one, other}) {
      ASSERT_TRUE(std::isfinite(seats[played].rating)) << period;
      ASSERT_TRUE(seats[played].deviation > 0 && seats[played].deviation <= kMostDeviation) << period;
      ASSERT_TRUE(seats[played].volatility > 0 && std::isfinite(seats[played].volatility)) << period;
    }
  }
}

TEST(Glicko, WinningAllGamesNeverLowersAndPlayingMakesMoreCertain) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 10'000; ++i) {
    std::vector<Glicko> before;
    for (int seat = 0; seat < 4; ++seat)
      before.push_back({static_cast<double>(1000 + random() % 1000), static_cast<double>(60 + random() % 290), 0.06});
    const auto after = glickoAfter(before, {{0, 1, 1}, {0, 2, 1}, {0, 3, 1}});
    ASSERT_GE(after[0].rating, before[0].rating);
    const auto idle = idled({before[0].rating, before[0].deviation, after[0].volatility}, 1);
    ASSERT_LT(after[0].deviation, idle.deviation) << "a period with games tells more than one without";
  }
}

TEST(Elo, PublishedVectorsHold) {
  EXPECT_NEAR(expectedScore(1600, 1400), .7597469266, 1e-9);
  EXPECT_NEAR(eloAfter({1500, 1500}, {{0, 1, 1}})[0], 1516, 1e-9);
  const auto after = eloAfter({1600, 1500, 1400}, {{0, 1, 0}, {0, 2, 1}, {1, 2, 0.5}});
  EXPECT_NEAR(after[0], 1593.603009, 1e-6);
  EXPECT_NEAR(after[1], 1508.0, 1e-6);
  EXPECT_NEAR(after[2], 1398.396991, 1e-6);
  EXPECT_NEAR(after[0] + after[1] + after[2], 4500, 1e-9);
}

TEST(Elo, DoesNotDependOnTheOrderOfSeats) {
  const auto one = eloAfter({1600, 1500, 1400}, gamesOf(std::vector<double>{3, 2, 1}));
  const auto other = eloAfter({1400, 1600, 1500}, gamesOf(std::vector<double>{1, 3, 2}));
  EXPECT_NEAR(one[0], other[1], 1e-9);
  EXPECT_NEAR(one[2], other[0], 1e-9);
}

TEST(BradleyTerry, PublishedVectorsHold) {
  const auto three = bradleyTerry({{0, 8, 7}, {2, 0, 6}, {3, 4, 0}}, 0);
  EXPECT_NEAR(three[0], 1127.3859, 1e-3);
  EXPECT_NEAR(three[1], 948.9600, 1e-3);
  EXPECT_NEAR(three[2], 923.6541, 1e-3);
  const auto two = bradleyTerry({{0, 3}, {1, 0}}, 0);
  EXPECT_NEAR(two[0] - two[1], 190.848502, 1e-5);
}

TEST(BradleyTerry, ThoseWhoNeverMetOrNeverLostStayFinite) {
  const auto fitted = bradleyTerry({{0, 5, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 1}, {0, 0, 1, 0}}, 1);
  for (const double value : fitted) EXPECT_TRUE(std::isfinite(value));
  EXPECT_GT(fitted[0], fitted[1]);
}

TEST(BradleyTerry, TheSameSeedDrawsTheSameIntervalsAroundTheFit) {
  std::vector<std::vector<Game>> matches;
  for (int i = 0; i < 60; ++i) matches.push_back({{0, 1, i % 4 == 0 ? 0.0 : 1.0}});
  const auto one = bootstrapped(2, matches, 1, 200, 7);
  const auto again = bootstrapped(2, matches, 1, 200, 7);
  EXPECT_EQ(one[0].lower, again[0].lower);
  EXPECT_NE(one[0].lower, bootstrapped(2, matches, 1, 200, 8)[0].lower);
  const auto fitted = bradleyTerry({{0, 45}, {15, 0}}, 1);
  EXPECT_LT(one[0].lower, fitted[0]);
  EXPECT_GT(one[0].upper, fitted[0]);
  EXPECT_GT(one[0].lower, one[1].upper) << "45 of 60 is no chance";
}

Match matchOfThree(const std::string& choice_of_c = "a") {
  return *matchOf("", {{"a", "a", "", "", 0}, {"b", "b", "", "", 0}, {"c", "c", "", "", 0}},
                  {{"a", "b"}, {"b", "a"}, {"c", choice_of_c}});
}

TEST(Match, VotesForOneselfTwiceOrForNobodyDoNotCount) {
  const auto match = matchOf("x", {{"a", "a", "", "", 9}, {"b", "b", "", "", 9}},
                             {{"a", "a"}, {"b", "a"}, {"b", "a"}, {"stranger", "b"}, {"a", ""}});
  ASSERT_TRUE(match);
  EXPECT_EQ(match->seats[0].votes, 1);
  EXPECT_EQ(match->seats[1].votes, 0);
  EXPECT_EQ(match->ballots.size(), 1U);
  EXPECT_FALSE(matchOf("", {{"a", "a", "", "", 0}, {"b", "b", "", "", 0}}, {{"a", "a"}, {"b", "b"}}));
  EXPECT_FALSE(matchOf("", {{"a#1", "a", "", "", 0}, {"a#2", "a", "", "", 0}}, {{"a#1", "a#2"}}));
}

TEST(Match, IsOfTheModelThatSpokeAndNotOfTheNameItWasAskedBy) {
  EXPECT_EQ(identityOf("claude", "anthropic", "claude-opus-5-5"), "anthropic:claude-opus-5-5");
  EXPECT_EQ(identityOf("x", "openrouter", "vendor/model:free"), "openrouter:vendor:model:free") << "no slash in a path";
  EXPECT_EQ(identityOf("demo-a", "demo", "demo"), "demo-a");
  EXPECT_EQ(identityOf("claude", "", ""), "claude");
}

TEST(Match, ComesBackAsItWasStored) {
  const auto match = matchOfThree();
  const auto back = matchFrom(toJsonObject(match));
  ASSERT_TRUE(back);
  EXPECT_EQ(toJson(toJsonObject(*back)), toJson(toJsonObject(match)));
  EXPECT_FALSE(matchFrom(json::object{{"seats", "none"}}));
}

TEST(Match, DomainsAreShortPlainNames) {
  EXPECT_EQ(readDomain(" Finance "), "finance");
  EXPECT_EQ(readDomain(""), "");
  EXPECT_EQ(readDomain("q.a-1_x"), "q.a-1_x");
  for (const auto* bad : {"-x", "a b", "ä", "a/b"}) EXPECT_FALSE(readDomain(bad)) << bad;
  EXPECT_FALSE(readDomain(std::string(49, 'a')));
}

TEST(Table, KnownBallotsGiveKnownRatings) {
  Table table;
  const auto changes = table.count(matchOfThree(), 5);  // a 2 votes, b 1, c 0
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[0].result, Result::Won);
  EXPECT_EQ(changes[1].result, Result::Lost);
  EXPECT_NEAR(table.ratings().at("a").elo, 1516, 1e-9);
  EXPECT_NEAR(table.ratings().at("b").elo, 1500, 1e-9);
  EXPECT_NEAR(table.ratings().at("c").elo, 1484, 1e-9);
  EXPECT_NEAR(table.ratings().at("a").glicko.rating, 1747.318072, 1e-4);
  EXPECT_EQ(table.ratings().at("a").streak, 1);
  EXPECT_EQ(table.ratings().at("c").streak, -1);
  EXPECT_EQ(table.ratings().at("a").last_match_at, 5);
}

TEST(Table, TheOrderOfSeatsMakesNoDifferenceToTheLastBit) {
  std::mt19937_64 random(3);
  Table one;
  Table other;
  double sum = 0;
  for (int i = 0; i < 500; ++i) {
    std::vector<Seat> seats;
    for (int seat = 0; seat < 5; ++seat) {
      const auto name = fmt::format("s{}", seat);
      seats.push_back({name, fmt::format("agent-{}", random() % 7), "", "", 0});
    }
    std::vector<Ballot> ballots;
    for (int seat = 0; seat < 5; ++seat)
      ballots.push_back({fmt::format("s{}", seat), fmt::format("s{}", random() % 5)});
    const auto match = matchOf("", seats, ballots);
    if (!match) continue;
    one.count(*match, i);
    auto turned = *match;
    std::shuffle(turned.seats.begin(), turned.seats.end(), random);
    other.count(turned, i);
  }
  for (const auto& [name, rating] : one.ratings()) {
    EXPECT_EQ(rating.elo, other.ratings().at(name).elo) << name;
    EXPECT_EQ(rating.glicko.rating, other.ratings().at(name).glicko.rating) << name;
    EXPECT_EQ(rating.glicko.deviation, other.ratings().at(name).glicko.deviation) << name;
    EXPECT_EQ(rating.wins + rating.draws + rating.losses, rating.matches);
    sum += rating.elo - kFirstElo;
  }
  EXPECT_NEAR(sum, 0, 1e-6);
}

TEST(Table, SeatsOfOneModelDoNotPlayEachOther) {
  Table table;
  table.count(*matchOf("", {{"a#1", "a", "", "", 0}, {"a#2", "a", "", "", 0}, {"b", "b", "", "", 0}},
                       {{"a#1", "b"}, {"a#2", "a#1"}, {"b", "a#1"}}),
              1);
  EXPECT_EQ(table.ratings().at("a").matches, 1);
  EXPECT_EQ(table.ratings().at("a").wins, 1);
  EXPECT_NEAR(table.ratings().at("a").elo + table.ratings().at("b").elo, 3000, 1e-9);
}

TEST(Ranked, WhoMayBeAsGoodSharesTheRankAndTiesGoByName) {
  std::map<std::string, Rating> ratings;
  for (const auto& [name, rating, deviation] :
       {std::tuple("best", 1900, 40), std::tuple("close", 1800, 40), std::tuple("also", 1800, 40),
        std::tuple("clearly less", 1500, 40), std::tuple("newcomer", 1500, 350)})
    ratings[name] = {.name = name, .glicko = {static_cast<double>(rating), static_cast<double>(deviation), 0.06}};
  std::vector<std::string> names;
  std::vector<std::int64_t> ranks;
  for (const auto& one : ranked(ratings, 0)) {
    names.push_back(one.rating->name);
    ranks.push_back(one.rank);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"best", "also", "close", "clearly less", "newcomer"}));
  EXPECT_EQ(ranks, (std::vector<std::int64_t>{1, 1, 1, 4, 4}));
}

}  // namespace
}  // namespace aragora::ratings
