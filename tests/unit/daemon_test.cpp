#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/store/ratings.h"
#include "daemon/debate/consensus.h"
#include "daemon/edge/worker_pool.h"
#include "daemon/providers/provider.h"
#include "daemon/web/guard.h"
#include "daemon/web/rate_limiter.h"
#include "daemon/web/router.h"

namespace aragora {
namespace {

using debate::Ballot;
using debate::ConsensusKind;

TEST(Consensus, ATieIsNeverConsensus) {
  const auto result = debate::tally(
      {"a", "b", "c", "d"}, {{"a", "b", 90}, {"b", "a", 10}, {"c", "a", 10}, {"d", "b", 90}}, ConsensusKind::Majority);
  EXPECT_FALSE(result.reached);
  EXPECT_TRUE(result.tied);
  EXPECT_EQ(result.leader, "b");  // shown as leading by confidence
}

TEST(Consensus, MajorityIsMoreThanHalfOfTheValidBallotsWithAQuorum) {
  EXPECT_TRUE(debate::tally({"a", "b", "c"}, {{"a", "b", 50}, {"b", "c", 50}, {"c", "b", 50}}, ConsensusKind::Majority)
                  .reached);
  EXPECT_FALSE(
      debate::tally({"a", "b", "c"}, {{"a", "b", 50}}, ConsensusKind::Majority).reached);  // one ballot is no quorum
  EXPECT_FALSE(debate::tally({"a", "b", "c", "d"}, {{"a", "b", 50}, {"c", "b", 50}, {"d", "c", 50}, {"b", "c", 50}},
                             ConsensusKind::Majority)
                   .reached);
}

TEST(Consensus, SupermajorityAndUnanimity) {
  const std::vector<Ballot> two_of_three = {{"a", "b", 50}, {"b", "c", 50}, {"c", "b", 50}};
  EXPECT_TRUE(debate::tally({"a", "b", "c"}, two_of_three, ConsensusKind::Supermajority).reached);
  EXPECT_FALSE(debate::tally({"a", "b", "c"}, two_of_three, ConsensusKind::Unanimous).reached);
  // A seat that failed blocks unanimity.
  EXPECT_FALSE(debate::tally({"a", "b", "c"}, {{"a", "b", 50}, {"c", "b", 50}}, ConsensusKind::Unanimous).reached);
  EXPECT_TRUE(debate::tally({"a", "b", "c"}, {{"a", "b", 50}, {"c", "b", 50}, {"b", "b", 50}}, ConsensusKind::Unanimous)
                  .reached);
}

TEST(Consensus, BallotsForNobodyDoNotCount) {
  const auto result =
      debate::tally({"a", "b", "c"}, {{"a", "zzz", 50}, {"b", "", 50}, {"c", "b", 50}}, ConsensusKind::Majority);
  EXPECT_EQ(result.valid, 1U);
  EXPECT_FALSE(result.reached);
}

TEST(Elo, PublishedVectorsHold) {
  EXPECT_NEAR(store::eloAfter({1500, 1500}, {1, 0})[0], 1516, 1e-9);
  // A 1600, B 1500, C 1400: A loses to B, beats C, B and C draw cannot be written as scores of one match; pairs are.
  const auto after = store::eloAfter({1600, 1500, 1400}, {1, 1, 0});
  EXPECT_NEAR(after[0] + after[1] + after[2], 4500, 1e-9);
  const auto pair = store::eloAfter({1600, 1400}, {1, 0});
  EXPECT_NEAR(pair[0], 1600 + 32 * (1 - .7597469266), 1e-6);
}

TEST(Elo, DoesNotDependOnTheOrderOfSeats) {
  const auto one = store::eloAfter({1600, 1500, 1400}, {3, 2, 1});
  const auto other = store::eloAfter({1400, 1600, 1500}, {1, 3, 2});
  EXPECT_NEAR(one[0], other[1], 1e-9);
  EXPECT_NEAR(one[2], other[0], 1e-9);
}

web::Router sampleRouter() {
  web::Router router;
  const web::Handler handler = [](const web::Request&) { return web::Response{}; };
  router.add({.method = "GET", .pattern = "/api/debates", .handler = handler});
  router.add({.method = "GET", .pattern = "/api/debates/slug/{id}", .handler = handler});
  router.add({.method = "GET", .pattern = "/api/debates/{id}/events", .handler = handler});
  return router;
}

TEST(Router, VersionsAreOneRouteAndMethodsAreTold) {
  const auto router = sampleRouter();
  for (const auto* path : {"/api/debates", "/api/v1/debates", "/api/v2/debates/"})
    EXPECT_NE(router.match("GET", web::canonicalPath(path)).route, nullptr) << path;
  EXPECT_EQ(router.match("GET", "/api/debates/x%/events").parameters.at("id"), "x%");
  EXPECT_EQ(router.match("DELETE", "/api/debates").allowed, std::vector<std::string>{"GET"});
  EXPECT_TRUE(router.match("GET", "/api/nothing").allowed.empty());
}

TEST(Router, TargetsAreDecodedStrictly) {
  const auto target = web::parseTarget("/api/v1/debates?status=a%20b&x=1+2&flag");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/api/debates");
  EXPECT_EQ(target->query.at("status"), "a b");
  EXPECT_EQ(target->query.at("x"), "1 2");
  EXPECT_EQ(target->query.at("flag"), "");
  for (const auto* bad : {"", "api", "/%", "/%0", "/%zz", "/%00", "/a?b=%", "/%ff"})
    EXPECT_FALSE(web::parseTarget(bad)) << bad;
}

TEST(RateLimiter, AllowsTheBurstAndThenTheRate) {
  web::RateLimiter limiter(60);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(limiter.take("1.2.3.4", start).allowed) << i;
  const auto refused = limiter.take("1.2.3.4", start);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.retry_after, 1);
  EXPECT_TRUE(limiter.take("1.2.3.5", start).allowed);
  EXPECT_TRUE(limiter.take("1.2.3.4", start + std::chrono::seconds(1)).allowed);
  EXPECT_FALSE(limiter.take("1.2.3.4", start + std::chrono::seconds(1)).allowed);
}

TEST(RateLimiter, Ipv6CountsByNetworkAndMappedAddressesAsIpv4) {
  EXPECT_EQ(web::rateLimitKey("2001:db8:1:2::1"), web::rateLimitKey("2001:db8:1:2:ffff::9"));
  EXPECT_NE(web::rateLimitKey("2001:db8:1:2::1"), web::rateLimitKey("2001:db8:1:3::1"));
  EXPECT_EQ(web::rateLimitKey("::ffff:1.2.3.4"), "1.2.3.4");
}

TEST(RateLimiter, ManyAddressesDoNotGrowItWithoutBound) {
  web::RateLimiter limiter(1);
  const auto now = std::chrono::steady_clock::now();
  for (int i = 0; i < 300'000; ++i) limiter.take(fmt::format("10.{}.{}.{}", i >> 16, (i >> 8) & 255, i & 255), now);
  SUCCEED();
}

TEST(Addresses, BlocksContainWhatTheyShould) {
  EXPECT_TRUE(web::inBlock("10.1.2.3", "10.0.0.0/8"));
  EXPECT_FALSE(web::inBlock("11.1.2.3", "10.0.0.0/8"));
  EXPECT_TRUE(web::inBlock("::1", "::1"));
  EXPECT_TRUE(web::inBlock("2001:db8::5", "2001:db8::/32"));
  EXPECT_TRUE(web::inBlock("::ffff:10.0.0.1", "10.0.0.0/8"));
  for (const auto* bad : {"", "10.0.0.0/99", "x/8", "10.0.0.0/"}) EXPECT_FALSE(web::inBlock("10.0.0.1", bad)) << bad;
}

using Values = std::map<std::string, std::string>;

struct MiddlewareFixture {
  web::Router router = sampleRouter();
  metrics::Registry registry;
  config::Config config;
  TemporaryDirectory directory;
  std::unique_ptr<database::Database> database;
  crypto::Keyring keyring{Secret(std::string(64, 'a'))};
  std::unique_ptr<accounts::Accounts> accounts;
  std::unique_ptr<web::Guard> middleware;
  explicit MiddlewareFixture(const Values& values) {
    for (const auto& [key, value] : values) config.add(key, {Secret(value), {config::Source::Flag, "test"}});
    database::Target target;
    target.path = directory.path() / "test.db";
    database = database::openDatabase(target);
    accounts = std::make_unique<accounts::Accounts>(*database, keyring, config);
    middleware = std::make_unique<web::Guard>(config, router, registry, *accounts);
  }
  std::string clientOf(const std::string& peer, const std::string& forwarded) {
    web::Request request;
    request.headers = {{"x-forwarded-for", forwarded}};
    middleware->identify(request, peer);
    return request.client_address;
  }
};

TEST(ClientAddress, OnlyTrustedProxiesAreBelievedAndFromTheRight) {
  MiddlewareFixture fixture(Values{{"server.trusted_proxies", "127.0.0.1,10.0.0.0/8"}});
  EXPECT_EQ(fixture.clientOf("127.0.0.1", "6.6.6.6, 5.5.5.5, 10.0.0.2"), "5.5.5.5");  // the leftmost may be forged
  EXPECT_EQ(fixture.clientOf("9.9.9.9", "5.5.5.5"), "9.9.9.9");
  EXPECT_EQ(fixture.clientOf("127.0.0.1", "not-an-address"), "127.0.0.1");
}

TEST(Origins, AreExactMatches) {
  MiddlewareFixture fixture(
      Values{{"environment", "production"}, {"server.allowed_origins", "https://allowed.example"}});
  EXPECT_TRUE(fixture.middleware->originAllowed("https://allowed.example"));
  for (const auto* origin :
       {"https://evil.com", "https://allowed.example.evil.com", "https://evilallowed.example", "http://allowed.example",
        "https://allowed.example:444", "https://allowed.example.", "https://ALLOWED.example", "null", "file://", ""}) {
    EXPECT_FALSE(fixture.middleware->originAllowed(origin)) << origin;
  }
}

TEST(Credentials, ProductionNeverTakesAnAnonymousClient) {
  EXPECT_EQ(MiddlewareFixture(Values{{"environment", "production"}}).middleware->authenticate(""), "");
  MiddlewareFixture fixture(Values{{"environment", "production"}, {"auth.api_token", "correct-token"}});
  EXPECT_EQ(fixture.middleware->authenticate("correct-token"), "token");
  EXPECT_EQ(fixture.middleware->authenticate("correct-tokem"), "");
  EXPECT_EQ(MiddlewareFixture(Values{}).middleware->authenticate(""), "anonymous");
}

TEST(Credentials, WhatLooksLikeAnAccessTokenMustBeOneAlsoInDevelopment) {
  MiddlewareFixture fixture(Values{{"auth.jwt_secret", "0123456789abcdef0123456789abcdef"}});
  web::Request request;
  request.method = "GET";
  request.path = "/api/debates";
  request.headers = {{"authorization", "Bearer a.b.c"}};
  EXPECT_EQ(fixture.middleware->admit(request).answer->status, 401);
  accounts::Access access{"u", "s", 1, 0};
  const accounts::AccessTokens tokens(Secret("0123456789abcdef0123456789abcdef"), std::chrono::hours(24));
  request.headers = {{"authorization", "Bearer " + tokens.issue(access, nowMicros() / 1'000'000)}};
  EXPECT_FALSE(fixture.middleware->admit(request).answer);
  EXPECT_EQ(request.principal, "user:u");
}

TEST(WorkerPool, RefusesWhenFullAndRunsWhatItTook) {
  std::atomic<int> ran{0};
  std::mutex gate;
  gate.lock();
  edge::WorkerPool pool(1, 2);
  ASSERT_TRUE(pool.post([&] { const std::lock_guard wait(gate); }));
  while (pool.queued() > 0) std::this_thread::yield();
  EXPECT_TRUE(pool.post([&] { ++ran; }));
  EXPECT_TRUE(pool.post([&] { ++ran; }));
  EXPECT_FALSE(pool.post([&] { ++ran; }));
  gate.unlock();
  pool.stop();
  EXPECT_EQ(ran, 2);
}

TEST(DemoProvider, SaysTheSameForTheSameQuestion) {
  const auto provider = providers::makeDemoProvider();
  const auto ask = [&](std::uint64_t seed) {
    return provider
        ->ask({"demo-skeptic", "", "propose", "", toJson(json::object{{"task", "x"}}), seed,
               deadlineIn(std::chrono::seconds(1)), nullptr})
        .text;
  };
  EXPECT_EQ(ask(7), ask(7));
}

}  // namespace
}  // namespace aragora
