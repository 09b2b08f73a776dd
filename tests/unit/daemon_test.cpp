#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/config/catalogue.h"
#include "common/migrate/migrator.h"
#include "daemon/api/new_debate.h"
#include "daemon/api/openapi.h"
#include "daemon/assembly.h"
#include "daemon/edge/occupancy.h"
#include "daemon/edge/target.h"
#include "daemon/edge/worker_pool.h"
#include "daemon/lifecycle/memory_watch.h"
#include "daemon/providers/provider.h"
#include "daemon/web/errors.h"
#include "daemon/web/guard.h"

namespace aragora {
namespace {

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
    EXPECT_NE(router.match("GET", edge::canonicalPath(path)).route, nullptr) << path;
  EXPECT_EQ(router.match("GET", "/api/debates/x%/events").parameters.at("id"), "x%");
  EXPECT_EQ(router.match("DELETE", "/api/debates").allowed, (std::vector<std::string>{"GET", "HEAD", "OPTIONS"}));
  EXPECT_TRUE(router.match("GET", "/api/nothing").allowed.empty());
}

TEST(Router, TakesItsBasePathOffAndNothingElse) {
  const web::Router below("/a/b");
  const std::pair<const char*, const char*> inside[] = {{"/a/b", "/"},
                                                        {"/a/b/api/debates", "/api/debates"},
                                                        {"/a/b/api/v1/debates/", "/api/debates"},
                                                        {"/a/b//api", "//api"}};
  for (const auto& [asked, found] : inside) {
    auto path = edge::canonicalPath(asked);
    EXPECT_TRUE(below.enter(path)) << asked;
    EXPECT_EQ(path, found);
  }
  for (const std::string asked : {"/", "/a", "/a/bc", "/a/bapi", "/A/b/api", "/api/debates", "//a/b/api"}) {
    auto path = asked;
    EXPECT_FALSE(below.enter(path)) << asked;
    EXPECT_EQ(path, asked);
  }
  std::string path = "/a/b";
  EXPECT_TRUE(web::Router().enter(path));
  EXPECT_EQ(path, "/a/b");
}

TEST(Router, TargetsAreDecodedStrictly) {
  const auto target = edge::parseTarget("/api/v1/debates?status=a%20b&x=1+2&flag");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/api/debates");
  EXPECT_EQ(target->query.at("status"), "a b");
  EXPECT_EQ(target->query.at("x"), "1 2");
  EXPECT_EQ(target->query.at("flag"), "");
  EXPECT_FALSE(target->repeated);
  for (const auto* twice : {"/a?x=1&x=2", "/a?x=1&x=1", "/a?y=&x&%78=", "/a?x&y&x&x"})
    EXPECT_EQ(edge::parseTarget(twice)->repeated, "x") << twice;
  for (const auto* bad : {"", "api", "/%", "/%0", "/%zz", "/%00", "/a?b=%", "/%ff"})
    EXPECT_FALSE(edge::parseTarget(bad)) << bad;
}

TEST(Router, AHostIsANameOrAnAddressWithAPort) {
  for (const auto* good : {"a", "a:1", "a.b:65535", "192.0.2.1", "[::1]", "[::1]:80", "a%41"})
    EXPECT_EQ(edge::parseAuthority(good), good);
  EXPECT_EQ(edge::parseAuthority("a:"), "a");
  EXPECT_EQ(edge::parseAuthority("[::1]:"), "[::1]");
  for (const auto* bad :
       {"",    ":",  ":1", "a b", "a@b", "a/b",  "a:b",    "a:1:1", "a:0", "a:65536",    "a:99999999999999999999",
        "a%4", "a%", "[",  "[]",  "]",   "[::1", "[::1]1", "::1",   "[a]", "[::1%25lo]", "\xff"})
    EXPECT_FALSE(edge::parseAuthority(bad)) << bad;
}

json::object sampleDescription() {
  return parseJson(R"({"components": {"parameters": {"limit": {"name": "limit", "in": "query"}}}, "paths": {
      "/api/debates": {"get": {"parameters": [{"$ref": "#/components/parameters/limit"}, {"name": "X", "in": "header"}],
                               "responses": {"200": {}, "404": {"$ref": "#/components/responses/NotFound"}}}},
      "/api/debates/slug/{id}": {"get": {"responses": {}}},
      "/api/debates/{id}/events": {"get": {"responses": {}}}}})",
                   "a sample")
      .as_object();
}

TEST(Description, IsThatOfTheRoutes) {
  auto router = sampleRouter();
  const auto one = [&router](const json::object& description) {
    const auto found = api::differences(router, description);
    return found.size() == 1 ? found[0] : fmt::format("{} differences", found.size());
  };
  EXPECT_EQ(one(sampleDescription()), "GET /api/debates takes other query parameters than it says");
  router = web::Router();
  const web::Handler handler = [](const web::Request&) { return web::Response{}; };
  router.add({.method = "GET", .pattern = "/api/debates", .handler = handler, .query = {"limit"}});
  router.add({.method = "GET", .pattern = "/api/debates/slug/{id}", .handler = handler});
  EXPECT_EQ(one(sampleDescription()), "GET /api/debates/{id}/events is described, but no route");
  router.add({.method = "GET", .pattern = "/api/debates/{id}/events", .handler = handler});
  EXPECT_TRUE(api::differences(router, sampleDescription()).empty());
  const auto described = api::describe(router, sampleDescription());
  const auto& list = described.at("paths").at("/api/debates").at("get").as_object();
  EXPECT_TRUE(list.at("responses").at("200").at("headers").as_object().contains("X-Request-ID"));
  EXPECT_TRUE(list.at("responses").as_object().contains("429"));
  router.add({.method = "PUT", .pattern = "/api/debates", .handler = handler});
  EXPECT_EQ(one(sampleDescription()), "PUT /api/debates is not described");
  EXPECT_THROW(api::describe(router, sampleDescription()), Error);
}

TEST(Description, AnotherNameIsACopy) {
  const auto paths = api::mergedDescription().at("paths").as_object();
  const auto& put = paths.at("/api/auth/me").at("put").as_object();
  EXPECT_EQ(put.at("operationId"), "changeProfile_PUT_api_auth_me");
  EXPECT_EQ(put.at("requestBody"), paths.at("/api/auth/me").at("patch").at("requestBody"));
  for (const auto& [path, item] : paths) {
    for (const auto& [method, operation] : item.as_object()) EXPECT_TRUE(operation.as_object().contains("responses"));
  }
}

TEST(RateLimiter, Ipv6CountsByNetworkAndMappedAddressesAsIpv4) {
  EXPECT_EQ(web::networkKey("2001:db8:1:2::1"), web::networkKey("2001:db8:1:2:ffff::9"));
  EXPECT_NE(web::networkKey("2001:db8:1:2::1"), web::networkKey("2001:db8:1:3::1"));
  EXPECT_EQ(web::networkKey("::ffff:1.2.3.4"), web::networkKey("1.2.3.4"));
  EXPECT_NE(web::networkKey("1.2.3.4"), web::networkKey("1.2.3.5"));
}

TEST(RateLimiter, ManyAddressesDoNotGrowItWithoutBound) {
  web::RateLimiter limiter;
  const auto now = std::chrono::steady_clock::now();
  for (int i = 0; i < 300'000; ++i)
    limiter.decide(web::networkKey(fmt::format("10.{}.{}.{}", i >> 16, (i >> 8) & 255, i & 255)), {1}, now,
                   web::Counting::Take);
  SUCCEED();
}

// A guard in front of one route for each permission; each answers with the name of its caller.
struct GuardFixture {
  web::Router router;
  metrics::Registry registry;
  TemporaryDirectory directory;
  std::unique_ptr<database::Database> database;
  crypto::Keyring keyring{Secret(std::string(64, 'a'))};
  std::unique_ptr<accounts::Accounts> accounts;
  std::unique_ptr<accounts::ApiKeys> keys;
  std::unique_ptr<accounts::Tickets> tickets;
  std::unique_ptr<web::Authenticator> authenticator;
  std::unique_ptr<web::RefusalLog> refusals;
  web::Limits limits;
  std::unique_ptr<web::Guard> guard;

  explicit GuardFixture(web::AuthenticatorOptions options = {}, web::GuardSettings settings = {}) {
    database::Target target;
    target.path = directory.path() / "test.db";
    migrate::Migrator(target, {}).up();
    database = database::openDatabase(target);
    accounts = std::make_unique<accounts::Accounts>(
        *database, keyring, accounts::AccountsOptions{.token_secret = Secret("0123456789abcdef0123456789abcdef")});
    keys = std::make_unique<accounts::ApiKeys>(*database, keyring);
    tickets = std::make_unique<accounts::Tickets>(*database, keyring, *accounts, *keys);
    authenticator =
        std::make_unique<web::Authenticator>(std::move(options), web::Credentials{*accounts, *keys, *tickets});
    for (const auto permission : accounts::allPermissions())
      router.add({.method = "GET",
                  .pattern = fmt::format("/{}", accounts::permissionName(permission)),
                  .permission = permission,
                  .handler =
                      [](const web::Request& request) {
                        web::Response response;
                        response.body = fmt::format("{}@{}", request.principal.name(), request.client_address);
                        return response;
                      },
                  .query = {"known"}});
    refusals = std::make_unique<web::RefusalLog>(*database, keyring);
    guard = std::make_unique<web::Guard>(std::move(settings), *authenticator, router, limits, *refusals, registry);
  }

  web::Response get(const std::string& path, std::vector<std::pair<std::string, std::string>> headers = {},
                    const std::string& peer = "192.0.2.1") {
    edge::Request request;
    request.method = "GET";
    auto target = *edge::parseTarget(path);
    request.path = std::move(target.path);
    request.query = std::move(target.query);
    request.headers = std::move(headers);
    request.peer = peer;
    const auto exchange = guard->open(std::move(request));
    auto answer = exchange->admit();
    if (!answer && !exchange->ask([] {})) answer = exchange->admitted();
    if (!answer) answer = exchange->answerNow();
    if (!answer) answer = exchange->answer();
    exchange->finish(*answer, {});
    return std::move(*answer);
  }
  static std::vector<std::pair<std::string, std::string>> bearer(const std::string& token) {
    return {{"authorization", "Bearer " + token}};
  }
  std::string logIn(accounts::Role role) {
    const Secret password("a password of some length");
    const auto email = fmt::format("{}@example.org", accounts::roleName(role));
    accounts->add(email, "", role, password, "test");
    return accounts->logIn(email, password, {"192.0.2.1", "", ""}).access_token;
  }
};

TEST(RefusalLog, IsBoundedAndCountsEveryGuess) {
  GuardFixture fixture({.api_token = Secret("the token of the operator")});
  for (int i = 0; i < 1000; ++i)
    fixture.get("/read_debates", GuardFixture::bearer("guessed"), fmt::format("10.0.{}.{}", i / 250, i % 250));
  fixture.refusals->start();
  fixture.refusals->stop();
  const auto rows =
      fixture.database->query("SELECT actor, details FROM audit_log WHERE action = 'credentials.refused'");
  EXPECT_EQ(rows.size(), web::RefusalLog::kMostNetworks + 1);
  std::int64_t sum = 0;
  for (const auto& row : rows) sum += jsonIntegerOr(*parseJson(row.text(1), "details").if_object(), "count", 0);
  EXPECT_EQ(sum, 1000);
}

TEST(Authorisation, IsOneTableThatHoldsRouteByRouteAndRoleByRole) {
  GuardFixture fixture({Secret("operator-token"), Secret("metrics-token"), false});
  GuardFixture open({{}, {}, true});
  const std::map<std::string, std::map<std::string, int>> expected = {
      {"public",
       {{"nobody", 200},
        {"metrics", 200},
        {"token", 200},
        {"viewer", 200},
        {"member", 200},
        {"admin", 200},
        {"anonymous", 200}}},
      {"read_debates",
       {{"nobody", 401},
        {"metrics", 401},
        {"token", 200},
        {"viewer", 200},
        {"member", 200},
        {"admin", 200},
        {"anonymous", 200}}},
      {"run_debates",
       {{"nobody", 401},
        {"metrics", 401},
        {"token", 200},
        {"viewer", 403},
        {"member", 200},
        {"admin", 200},
        {"anonymous", 200}}},
      {"read_agents",
       {{"nobody", 401},
        {"metrics", 401},
        {"token", 200},
        {"viewer", 200},
        {"member", 200},
        {"admin", 200},
        {"anonymous", 200}}},
      {"read_metrics",
       {{"nobody", 401},
        {"metrics", 200},
        {"token", 403},
        {"viewer", 403},
        {"member", 403},
        {"admin", 403},
        {"anonymous", 200}}},
      {"own_account",
       {{"nobody", 401},
        {"metrics", 401},
        {"token", 401},
        {"viewer", 200},
        {"member", 200},
        {"admin", 200},
        {"anonymous", 401}}},
      {"own_credentials",
       {{"nobody", 401},
        {"metrics", 401},
        {"token", 401},
        {"viewer", 200},
        {"member", 200},
        {"admin", 200},
        {"anonymous", 401}}},
      {"administer",
       {{"nobody", 401},
        {"metrics", 401},
        {"token", 401},
        {"viewer", 403},
        {"member", 403},
        {"admin", 200},
        {"anonymous", 401}}},
  };
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> credentials = {
      {"nobody", {}},
      {"metrics", GuardFixture::bearer("metrics-token")},
      {"token", GuardFixture::bearer("operator-token")},
      {"viewer", GuardFixture::bearer(fixture.logIn(accounts::Role::Viewer))},
      {"member", GuardFixture::bearer(fixture.logIn(accounts::Role::Member))},
      {"admin", GuardFixture::bearer(fixture.logIn(accounts::Role::Admin))}};
  for (const auto permission : accounts::allPermissions()) {
    const std::string name(accounts::permissionName(permission));
    ASSERT_EQ(expected.count(name), 1U) << "a permission without a row here: " << name;
    for (const auto& [who, status] : expected.at(name)) {
      auto& asked = who == "anonymous" ? open : fixture;
      EXPECT_EQ(asked.get("/" + name, who == "anonymous" ? credentials.at("nobody") : credentials.at(who)).status,
                status)
          << who << " at " << name;
    }
  }
}

TEST(Authorisation, ASessionThatEndedIsNobody) {
  GuardFixture fixture;
  const auto token = fixture.logIn(accounts::Role::Member);
  EXPECT_EQ(fixture.get("/read_debates", GuardFixture::bearer(token)).status, 200);
  fixture.accounts->setActive("member@example.org", false, "test");
  EXPECT_EQ(fixture.get("/read_debates", GuardFixture::bearer(token)).status, 401);
}

TEST(Authorisation, WhatLooksLikeAnAccessTokenMustBeOneAlsoWhereAnybodyMayCome) {
  GuardFixture fixture({{}, {}, true});
  EXPECT_EQ(fixture.get("/read_debates", GuardFixture::bearer("a.b.c")).status, 401);
  EXPECT_EQ(fixture.get("/read_debates").body, "anonymous@192.0.2.1");
}

TEST(Authorisation, AnAlmostRightTokenIsNone) {
  GuardFixture fixture({Secret("correct-token"), {}, false});
  EXPECT_EQ(fixture.get("/read_debates", GuardFixture::bearer("correct-token")).status, 200);
  for (const auto* wrong : {"correct-tokem", "correct-toke", "correct-tokens", ""})
    EXPECT_EQ(fixture.get("/read_debates", GuardFixture::bearer(wrong)).status, 401) << wrong;
}

TEST(Authorisation, WithoutAMetricsTokenOnlyLoopbackReadsMetrics) {
  GuardFixture fixture({Secret("correct-token"), {}, false});
  EXPECT_EQ(fixture.get("/read_metrics", {}, "127.0.0.1").status, 200);
  EXPECT_EQ(fixture.get("/read_metrics", {}, "192.0.2.1").status, 401);
  EXPECT_EQ(fixture.get("/read_debates", {}, "127.0.0.1").status, 401);
}

web::GuardSettings behindProxies() {
  web::GuardSettings settings;
  settings.trusted_proxies = {*net::Block::parse("127.0.0.1"), *net::Block::parse("10.0.0.0/8")};
  return settings;
}

TEST(ClientAddress, OnlyTrustedProxiesAreBelievedAndFromTheRight) {
  GuardFixture fixture({{}, {}, true}, behindProxies());
  const auto seen = [&](const std::string& peer, std::vector<std::string> lines) {
    std::vector<std::pair<std::string, std::string>> headers;
    for (auto& line : lines) headers.emplace_back("x-forwarded-for", std::move(line));
    const auto answer = fixture.get("/read_debates", headers, peer);
    return answer.status == 200 ? answer.body.substr(answer.body.find('@') + 1) : std::to_string(answer.status);
  };
  EXPECT_EQ(seen("127.0.0.1", {"6.6.6.6, 5.5.5.5, 10.0.0.2"}), "5.5.5.5");  // the leftmost may be forged
  EXPECT_EQ(seen("127.0.0.1", {"6.6.6.6", "5.5.5.5"}), "5.5.5.5");          // a proxy that appends a line
  EXPECT_EQ(seen("127.0.0.1", {"5.5.5.5:4711"}), "5.5.5.5");
  EXPECT_EQ(seen("127.0.0.1", {"[2001:db8::1]:443"}), "2001:db8::1");
  EXPECT_EQ(seen("9.9.9.9", {"5.5.5.5"}), "9.9.9.9");
  EXPECT_EQ(seen("127.0.0.1", {"not-an-address"}), "400");
  EXPECT_EQ(seen("127.0.0.1", {std::string(1100, '1')}), "400");
}

TEST(Query, UnknownParametersAreRefusedWithTheKnownOnes) {
  GuardFixture fixture({{}, {}, true});
  EXPECT_EQ(fixture.get("/read_debates?known=1").status, 200);
  const auto refused = fixture.get("/read_debates?known=1&agent=nobody");
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.body.find("agent"), std::string::npos);
  EXPECT_NE(refused.body.find("known: known"), std::string::npos);
}

TEST(Origins, AreExactMatches) {
  const web::Cors cors({"https://allowed.example"}, true);
  EXPECT_TRUE(cors.allows("https://allowed.example"));
  for (const auto* origin :
       {"https://evil.com", "https://allowed.example.evil.com", "https://evilallowed.example", "http://allowed.example",
        "https://allowed.example:444", "https://allowed.example.", "https://ALLOWED.example", "null", "file://", ""}) {
    EXPECT_FALSE(cors.allows(origin)) << origin;
  }
  EXPECT_FALSE(web::Cors({}, false).allows("http://localhost:3000"));
  EXPECT_TRUE(web::Cors({}, true).allows("http://localhost:3000"));
}

TEST(Errors, WhatTheDatabaseSaysStaysInside) {
  for (const auto code : {Code::Permission, Code::NotFound, Code::Conflict, Code::Unreachable, Code::Internal}) {
    try {
      throw database::Failure(Error(code, "PostgreSQL db.internal: permission denied for role aragora"));
    } catch (...) {
      const auto answer = web::currentErrorResponse("id", "GET /");
      EXPECT_GE(answer.status, 500);
      EXPECT_EQ(answer.body.find("aragora"), std::string::npos);
      EXPECT_EQ(answer.body.find("db.internal"), std::string::npos);
    }
  }
}

TEST(Reload, AppliesWhatTheCatalogueCallsReloadableAndNothingElse) {
  std::set<std::string_view> promised;
  for (const auto& setting : config::catalogue()) {
    if (setting.reloadable) promised.insert(setting.key);
  }
  const auto taken = daemon::Reloading::reloadableSettings();
  EXPECT_EQ(std::set<std::string_view>(taken.begin(), taken.end()), promised);
}

TEST(WorkerPool, RefusesWhenFullAndRunsWhatItTook) {
  std::atomic<int> ran{0};
  std::mutex gate;
  gate.lock();
  edge::WorkerPool pool(1, 2);
  ASSERT_TRUE(pool.post([&](edge::Turn) { const std::lock_guard wait(gate); }));
  while (pool.queued() > 0) std::this_thread::yield();
  EXPECT_TRUE(pool.post([&](edge::Turn) { ++ran; }));
  EXPECT_TRUE(pool.post([&](edge::Turn) { ++ran; }));
  EXPECT_FALSE(pool.post([&](edge::Turn) { ++ran; }));
  gate.unlock();
  pool.stop(std::chrono::seconds(5));
  EXPECT_EQ(ran, 2);
}

TEST(WorkerPool, KnowsHowLongItsOldestTaskGoesOnWhateverTheOthersDo) {
  using std::chrono::milliseconds;
  edge::WorkerPool pool(2, 10);
  EXPECT_EQ(pool.longest(), milliseconds(0));
  std::mutex gate;
  gate.lock();
  ASSERT_TRUE(pool.post([&](edge::Turn) { const std::lock_guard wait(gate); }));
  for (int i = 0; i < 30; ++i) {  // done by the other thread
    ASSERT_TRUE(pool.post([](edge::Turn) { std::this_thread::sleep_for(milliseconds(2)); }));
    while (pool.queued() > 0) std::this_thread::yield();
  }
  EXPECT_GE(pool.longest(), milliseconds(50));
  gate.unlock();
  for (int i = 0; i < 1000 && pool.busy() > 0; ++i) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(pool.longest(), milliseconds(0)) << "all are free, however long that takes";
}

TEST(WorkerPool, TurnsAwayWhatHasWaitedForTooLongAndServesWhatComesNow) {
  using std::chrono::milliseconds;
  std::mutex gate;
  gate.lock();
  edge::WorkerPool pool(1, 1000, milliseconds(50));
  ASSERT_TRUE(pool.post([&](edge::Turn) { const std::lock_guard wait(gate); }));
  while (pool.queued() > 0) std::this_thread::yield();
  std::atomic<int> late{0};
  std::atomic<int> served{0};
  const auto task = [&](edge::Turn turn) { ++(turn == edge::Turn::InTime ? served : late); };
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(pool.post(task)) << "however long the queue is";
  EXPECT_FALSE(pool.someThreadIsFree());
  std::this_thread::sleep_for(milliseconds(60));
  pool.turnAwayLate();  // though no thread is free
  EXPECT_EQ(late, 100);
  EXPECT_EQ(pool.queued(), 0U);
  EXPECT_TRUE(pool.post(task));
  std::this_thread::sleep_for(milliseconds(60));
  EXPECT_TRUE(pool.post(task));  // turns the one before it away
  EXPECT_EQ(late, 101);
  gate.unlock();
  pool.stop(std::chrono::seconds(5));
  EXPECT_EQ(served, 1);
  EXPECT_EQ(pool.takeTurnedAway(), 101U);
  EXPECT_EQ(pool.takeTurnedAway(), 0U);
}

TEST(Occupancy, OneAddressNeverHasAllPlacesAndGivesThemBack) {
  const auto occupancy = std::make_shared<edge::Occupancy>(
      edge::OccupancyOptions{.most = 160, .most_of_one = 20, .proxies = {*net::Block::parse("10.0.0.1")}});
  const auto fill = [&](const std::string& peer) {
    std::vector<std::shared_ptr<void>> held;
    for (auto entered = occupancy->enter(peer); entered.crowded == edge::Crowded::No; entered = occupancy->enter(peer))
      held.push_back(std::move(entered.place));
    return held;
  };
  {
    const auto client = fill("192.0.2.1");
    EXPECT_EQ(client.size(), 20U);
    EXPECT_EQ(occupancy->enter("192.0.2.1").crowded, edge::Crowded::ByThisAddress);
    EXPECT_EQ(occupancy->enter("::ffff:192.0.2.1").crowded, edge::Crowded::ByThisAddress) << "the same, mapped";
    EXPECT_EQ(occupancy->enter("192.0.2.2").crowded, edge::Crowded::No);
    const auto network = fill("2001:db8::1");
    EXPECT_EQ(network.size(), 20U);
    EXPECT_EQ(occupancy->enter("2001:db8::ffff:2").crowded, edge::Crowded::ByThisAddress) << "the same /64";
    EXPECT_EQ(occupancy->enter("2001:db8:0:1::1").crowded, edge::Crowded::No);
  }
  EXPECT_EQ(occupancy->taken(), 0U);
  const auto proxy = fill("10.0.0.1");
  EXPECT_EQ(proxy.size(), 150U) << "a sixteenth stays free";
  EXPECT_EQ(occupancy->enter("192.0.2.1").crowded, edge::Crowded::No);
  occupancy->trust({});
  EXPECT_EQ(occupancy->enter("10.0.0.1").crowded, edge::Crowded::ByThisAddress);
  const auto rest = fill("192.0.2.7");
  EXPECT_EQ(rest.size(), 10U);
  EXPECT_EQ(occupancy->enter("192.0.2.8").crowded, edge::Crowded::AllTaken);
}

TEST(MemoryUse, IsTheTightestOfTheControlGroupsAround) {
  const TemporaryDirectory directory;
  const auto write = [&](const std::string& name, const std::string& text) {
    const auto path = directory.path() / name;
    makeDirectories(path.parent_path(), 0700);
    writeFileAtomically(path, text);
  };
  const lifecycle::MemoryWatchOptions options{directory.path() / "groups", directory.path() / "membership"};
  EXPECT_EQ(lifecycle::memoryUse(options).limit, 0U) << "nothing there to ask";
  write("membership", "4:memory:/\n0::/system.slice/x.service\n");
  write("groups/system.slice/x.service/memory.max", "max\n");
  write("groups/system.slice/x.service/memory.current", "700\n");
  EXPECT_EQ(lifecycle::memoryUse(options).limit, 0U);
  write("groups/system.slice/memory.max", "1000\n");
  write("groups/system.slice/memory.current", "950\n");
  write("groups/system.slice/memory.stat", "anon 500\ninactive_file 50\nactive_file 400\n");
  EXPECT_EQ(lifecycle::memoryUse(options).used, 900U) << "without what the kernel can give back";
  write("groups/system.slice/x.service/memory.max", "720\n");
  EXPECT_EQ(lifecycle::memoryUse(options).limit, 720U);
  write("groups/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("groups/memory/memory.usage_in_bytes", "9223372036854771711\n");
  EXPECT_EQ(lifecycle::memoryUse(options).limit, 720U) << "version 1 without a limit";
  write("groups/memory/memory.limit_in_bytes", "1000\n");
  write("groups/memory/memory.usage_in_bytes", "1000\n");
  write("groups/memory/memory.stat", "inactive_file 0\ntotal_inactive_file 10\n");
  EXPECT_EQ(lifecycle::memoryUse(options).used, 990U);
}

TEST(Judge, IsNoSeatsModelAndGoesNoFartherThanTheSeats) {
  using Remote = providers::ProvidersOptions::Remote;
  using Seat = providers::Providers::Seat;
  providers::ProvidersOptions options;
  options.remotes = {Remote{config::Provider::Anthropic, "https://api.anthropic.com", "claude-opus-5-5", Secret("k")},
                     Remote{config::Provider::OpenAi, "https://api.openai.com/v1", "gpt-6-luna", Secret("k")},
                     Remote{config::Provider::Local, "http://127.0.0.1:9/v1", "own"}};
  options.default_agents = {"anthropic", "openai", "anthropic-skeptic"};
  const providers::Providers all(std::move(options));
  struct Case {
    std::vector<std::string> seats;
    const char* judge;
  };
  for (const auto& one : {Case{{"local:a", "local:b"}, "local"}, Case{{"local", "local:own"}, ""},
                          Case{{"demo-a", "demo-b"}, ""}, Case{{"sim", "sim:p=1"}, "demo-optimist"},
                          Case{{"local:own", "demo-a"}, ""}, Case{{"claude", "gpt-6-luna"}, "local"},
                          Case{{"gpt-6-sol", "openai:x"}, "anthropic"}, Case{{"claude-opus-5-5", "demo-a"}, "openai"}})
    EXPECT_EQ(api::judgeBeside(one.seats, all, [](const Seat&) { return true; }), one.judge) << one.seats[0];
  const auto only_openai = [](const Seat& seat) { return seat.provider->name() == "openai"; };
  EXPECT_EQ(api::judgeBeside({"local:a", "gpt-6-sol"}, all, only_openai), "openai");
  EXPECT_EQ(api::judgeBeside({"openai", "demo-a"}, all, only_openai), "")
      << "what the caller may not ask judges nobody";
}

TEST(DemoProvider, SaysTheSameForTheSameQuestion) {
  const auto provider = providers::makeDemoProvider();
  const auto ask = [&](std::uint64_t seed) {
    return provider
        ->ask({"demo-skeptic", "", store::Phase::Propose, "", toJson(json::object{{"task", "x"}}), seed,
               deadlineIn(std::chrono::seconds(1))})
        .text;
  };
  EXPECT_EQ(ask(7), ask(7));
}

}  // namespace
}  // namespace aragora
