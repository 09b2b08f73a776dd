// One contract for both engines, and what is particular to each.
#include "common/database/database.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/database/postgres/outlook.h"
#include "common/database/postgres/replication_connection.h"
#include "tests/integration/services.h"

namespace aragora::database {
namespace {

class DatabaseContract : public testing::TestWithParam<Engine> {
 protected:
  TestDatabase test_{GetParam()};
  std::unique_ptr<Database> database_ = openDatabase(test_.target());
  void SetUp() override {
    database_->write([](Connection& c) {
      c.query("CREATE TABLE t (id bigint PRIMARY KEY, name text UNIQUE, amount double precision)", {});
    });
  }
  std::int64_t count() {
    return database_->reading([](Connection& c) { return c.query("SELECT count(*) FROM t", {})[0].integer(0); });
  }
};

TEST_P(DatabaseContract, ValuesComeBackAsTheyWere) {
  const std::string text = "größer ✓ 'quoted' \\ \n end";
  database_->write([&](Connection& c) {
    c.query("INSERT INTO t (id, name, amount) VALUES ($1, $2, $3)", {std::int64_t{-9007199254740993}, text, 0.1});
  });
  database_->write([&](Connection& c) {
    c.query("INSERT INTO t (id, name, amount) VALUES ($1, $2, $3)", {std::int64_t{2}, Value{}, Value{}});
  });
  database_->read([&](Connection& c) {
    const auto rows = c.query("SELECT id, name, amount FROM t ORDER BY id", {});
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].integer(0), -9007199254740993);
    EXPECT_EQ(rows[0].text(1), text);
    EXPECT_DOUBLE_EQ(rows[0].number(2), 0.1);
    EXPECT_TRUE(rows[1].isNull(1));
  });
}

TEST_P(DatabaseContract, AParameterMayBeUsedTwiceAndOutOfOrder) {
  const auto row = database_->reading([](Connection& c) {
    return c.query("SELECT $2 || $1 || $2", {std::string("a"), std::string("b")})[0];
  });
  EXPECT_EQ(row.text(0), "bab");
}

TEST_P(DatabaseContract, AnExceptionRollsBackAndPassesThrough) {
  EXPECT_THROW(database_->write([](Connection& c) {
    c.query("INSERT INTO t (id) VALUES (1)", {});
    throw Error(Code::Validation, "no");
  }),
               Error);
  EXPECT_EQ(count(), 0);
}

TEST_P(DatabaseContract, AUniqueViolationIsAConflictAndUndoesItsOwnWorkOnly) {
  database_->write([](Connection& c) { c.query("INSERT INTO t (id, name) VALUES (1, 'x')", {}); });
  try {
    database_->write([](Connection& c) {
      c.query("INSERT INTO t (id, name) VALUES (2, 'y')", {});
      c.query("INSERT INTO t (id, name) VALUES ($1, $2)", {std::int64_t{3}, std::string("x")});
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::Conflict) << error.what();
    EXPECT_EQ(std::string(error.what()).find("'x'"), std::string::npos) << "values do not belong in messages";
  }
  EXPECT_EQ(count(), 1);
}

TEST_P(DatabaseContract, StatementsWrittenAsOneAreAllThereOrNone) {
  const std::string sql = "INSERT INTO t (id, name) VALUES ($1, $2)";
  database_->writeAll({{sql, {std::int64_t{1}, std::string("a")}}, {sql, {std::int64_t{2}, Value{}}}});
  EXPECT_EQ(count(), 2);
  for (int round = 0; round < 3; ++round) {  // the connection stays usable after a failure
    try {
      database_->writeAll({{sql, {std::int64_t{3}, std::string("b")}},
                           {sql, {std::int64_t{4}, std::string("a")}},
                           {sql, {std::int64_t{5}, std::string("c")}}});
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Conflict) << error.what();
    }
    EXPECT_EQ(count(), 2);
  }
  database_->writeAll({{sql, {std::int64_t{3}, std::string("b")}}});
  EXPECT_EQ(count(), 3);
}

TEST_P(DatabaseContract, WhatCanWaitIsDoneBeforeTheNextStatementAndBeforeTheEnd) {
  const auto insert = [](std::int64_t id, const std::string& name) {
    return Statement{"INSERT INTO t (id, name) VALUES ($1, $2)", {id, name}};
  };
  database_->write([](Connection&) {});
  database_->write([&](Connection& c) {
    c.later(insert(1, "a"));
    EXPECT_EQ(c.query("SELECT count(*) FROM t")[0].integer(0), 1);
    for (int i = 2; i < 2'500; ++i) c.later(insert(i, fmt::format("n{}", i)));
  });
  EXPECT_EQ(count(), 2'499);
  const std::vector<std::function<void(Connection&)>> failing = {
      [&](Connection& c) { c.later(insert(3'000, "a")); },
      [&](Connection& c) {
        c.later(insert(3'000, "b"));
        c.later(insert(3'001, "a"));
        c.query("SELECT count(*) FROM t");
      },
      [&](Connection& c) {
        c.later(insert(3'000, "b"));
        c.execute("UPDATE t SET name = $1 WHERE id = $2", {std::string("n2"), std::int64_t{3}});
      }};
  for (const auto& work : failing) {
    try {
      database_->write(work);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Conflict) << error.what();
    }
    EXPECT_EQ(count(), 2'499);
  }
}

// PostgreSQL answers ROLLBACK to the COMMIT of a transaction in which something failed, and calls it no error.
TEST_P(DatabaseContract, AWriteThatReturnsWasCommittedWhateverItSwallowed) {
  database_->write([](Connection& c) { c.query("INSERT INTO t (id, name) VALUES (1, 'x')"); });
  bool returned = true;
  try {
    database_->write([](Connection& c) {
      c.query("INSERT INTO t (id, name) VALUES (2, 'y')");
      EXPECT_THROW(c.query("INSERT INTO t (id, name) VALUES (3, 'x')"), Error);
    });
  } catch (const Error&) {
    returned = false;
  }
  EXPECT_EQ(count(), returned ? 2 : 1);
}

TEST_P(DatabaseContract, ManyWritersAllSucceed) {
  std::vector<std::future<void>> writers;
  for (int w = 0; w < 8; ++w) {
    writers.push_back(std::async(std::launch::async, [&, w] {
      for (int i = 0; i < 50; ++i)
        database_->write(
            [&](Connection& c) { c.query("INSERT INTO t (id) VALUES ($1)", {std::int64_t{w * 1000 + i}}); });
    }));
  }
  for (auto& writer : writers) writer.get();
  EXPECT_EQ(count(), 400);
}

TEST_P(DatabaseContract, AReadSeesOneSnapshot) {
  database_->read([&](Connection& c) {
    EXPECT_EQ(c.query("SELECT count(*) FROM t", {})[0].integer(0), 0);
    database_->write([](Connection& w) { w.query("INSERT INTO t (id) VALUES (1)", {}); });
    EXPECT_EQ(c.query("SELECT count(*) FROM t", {})[0].integer(0), 0);
  });
  EXPECT_EQ(count(), 1);
}

TEST_P(DatabaseContract, WaitingForAConnectionHasADeadline) {
  auto target = test_.target();
  target.pool_size = 1;
  target.acquire_timeout = std::chrono::milliseconds(100);
  const auto small = openDatabase(target);
  small->read([&](Connection&) {
    const auto other = std::async(std::launch::async, [&] {
                         try {
                           small->read([](Connection&) {});
                           return Code::Internal;
                         } catch (const Error& error) {
                           return error.code();
                         }
                       }).get();
    EXPECT_EQ(other, Code::Overloaded);
  });
}

INSTANTIATE_TEST_SUITE_P(Engines, DatabaseContract, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

TEST(PostgresPool, SurvivesARestartOfTheServerWithoutOneOfOurs) {
  TestDatabase test(Engine::Postgres);
  const auto database = openDatabase(test.target());
  database->ping();
  const auto admin = connect(test.target());
  // What a restart does to every connection.
  admin->query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
      "current_database()",
      {});
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  for (int i = 0; i < 5; ++i) EXPECT_NO_THROW(database->ping());
}

TEST(PostgresPool, AStatementThatRunsOverIsCancelled) {
  TestDatabase test(Engine::Postgres);
  auto target = test.target();
  target.statement_timeout = std::chrono::milliseconds(200);
  const auto database = openDatabase(target);
  const auto started = std::chrono::steady_clock::now();
  EXPECT_THROW(database->read([](Connection& c) { c.query("SELECT pg_sleep(20)", {}); }), Error);
  EXPECT_LT(secondsSince(started), 5);
  EXPECT_NO_THROW(database->ping());
}

// The cancel may reach the server late, and end the statement of whoever has that connection next.
TEST(PostgresPool, AConnectionToWhichACancelWasSentIsNotUsedAgain) {
  TestDatabase test(Engine::Postgres);
  auto target = test.target();
  target.pool_size = 1;
  target.statement_timeout = std::chrono::milliseconds(200);
  const auto database = openDatabase(target);
  const auto ours = [&] { return database->query("SELECT pg_backend_pid()")[0].integer(0); };
  const auto first = ours();
  EXPECT_EQ(ours(), first) << "else it is one connection";
  EXPECT_THROW(database->query("SELECT pg_sleep(20)"), Error);
  const auto second = ours();
  EXPECT_NE(second, first);
  EXPECT_THROW(database->write([](Connection& c) { c.query("SELECT pg_sleep(20)"); }), Error);
  EXPECT_NE(ours(), second);
  EXPECT_EQ(database->pool().available, 1U) << "the place of one that is closed is free";
}

TEST(PostgresPool, AServerThatIsNotThereFailsFastAndNamesItWithoutThePassword) {
  Target target;
  target.engine = Engine::Postgres;
  target.url = Secret("postgresql://someone:hunter2secret@127.0.0.1:1/nowhere");
  const auto database = openDatabase(target);
  for (int i = 0; i < 3; ++i) {
    const auto started = std::chrono::steady_clock::now();
    try {
      database->ping();
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Unreachable);
      EXPECT_NE(std::string(error.what()).find("127.0.0.1:1"), std::string::npos);
      EXPECT_EQ(std::string(error.what()).find("hunter2"), std::string::npos);
    }
    EXPECT_LT(secondsSince(started), 2);
  }
}

TEST(PostgresUrl, PasswordsSurviveRewritingAndAreNotShown) {
  const Secret url("postgresql://us%40er:p%27a%5Css%20w%3Dd@h:5433/db?sslmode=disable");
  EXPECT_EQ(postgres::describeUrl(url), "us@er@h:5433/db");
  const auto rewritten = postgres::parseUrl(postgres::withDatabase(url, "other db"));
  EXPECT_EQ(rewritten.at("password"), "p'a\\ss w=d");
  EXPECT_EQ(rewritten.at("dbname"), "other db");
  EXPECT_THROW(postgres::parseUrl(Secret("postgresql://u:secretpw@h:port:x/%zz")), Error);
  EXPECT_EQ(postgres::parseUrl(Secret("postgresql://u@h")).at("dbname"), "u");
  EXPECT_FALSE(postgres::parseUrl(Secret("postgresql://h")).at("dbname").empty()) << "whoever runs it";
}

TEST(PostgresUrl, AnAtSignIsAMistakeWhereNoSocketHasOne) {
  for (const auto& [url, host] :
       std::map<std::string, std::string>{{"host=@abstract user=u", "@abstract"},
                                          {"postgresql:///db?host=@abstract", "@abstract"},
                                          {"postgresql://u:p@%40abstract/db", "@abstract"},
                                          {"host=@one,/run/pg@15,h user=u", "@one,/run/pg@15,h"},
                                          {"postgresql:///db?host=/run/pg@15", "/run/pg@15"},
                                          {"postgresql://u:p%40w@h/db", "h"}}) {
    EXPECT_EQ(postgres::parseUrl(Secret(url)).at("host"), host) << url;
  }
  for (const auto* url : {"postgresql://u:pass@word@h/db", "postgresql://u:password@@h/db",
                          "postgresql://u:p@%40a@h/db", "host=a@b user=u", "host=@abstract,a@b user=u"}) {
    try {
      postgres::parseUrl(Secret(url));
      ADD_FAILURE() << url;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("more than one @"), std::string::npos) << error.what();
    }
  }
}

// A server that lets everybody in and then says nothing any more, as one that was stopped.
class SilentServer {
 public:
  SilentServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 4), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this] { welcome(); });
  }
  ~SilentServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(client_);
    ::close(listener_);
  }
  database::Target target(std::chrono::milliseconds patience) const {
    database::Target target;
    target.engine = database::Engine::Postgres;
    target.url = Secret(fmt::format("postgresql://a:b@127.0.0.1:{}/c?sslmode=disable&gssencmode=disable", port_));
    target.statement_timeout = patience;
    return target;
  }

 private:
  void welcome() {
    client_ = ::accept(listener_, nullptr, nullptr);
    char startup[1024];
    if (client_ < 0 || ::read(client_, startup, sizeof startup) <= 0) return;
    constexpr char kWelcome[] = "R\0\0\0\10\0\0\0\0Z\0\0\0\5I";  // AuthenticationOk, ReadyForQuery
    EXPECT_EQ(::write(client_, kWelcome, sizeof kWelcome - 1), static_cast<ssize_t>(sizeof kWelcome - 1));
  }
  int listener_ = -1;
  int client_ = -1;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

// What aragora_db_errors_total counts.
TEST(PostgresPool, WhatASilentServerDoesNotAnswerIsAFailureOfTheDatabase) {
  const std::vector<std::function<void(Database&)>> asked = {
      [](Database& database) { database.query("SELECT 1"); },
      [](Database& database) { database.read([](Connection& c) { c.query("SELECT 1"); }); },
      [](Database& database) { database.write([](Connection& c) { c.execute("SELECT 1", {}); }); },
      [](Database& database) {
        database.writeAll({{"SELECT 1", {}}});
      }};
  for (const auto& ask : asked) {
    const SilentServer server;
    const auto database = openDatabase(server.target(std::chrono::milliseconds(200)));
    try {
      ask(*database);
      ADD_FAILURE() << "it was answered";
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.code(), Code::Unreachable);
    }
    EXPECT_EQ(database->takeFailures(), 1U);
    EXPECT_EQ(database->takeFailures(), 0U) << "counted once";
  }
}

TEST(PostgresPool, ALookAtTheHealthOfASilentServerIsNoFailureOfWork) {
  const SilentServer server;
  const auto database = openDatabase(server.target(std::chrono::milliseconds(200)));
  EXPECT_THROW(database->ping(), Error);
  EXPECT_EQ(database->takeFailures(), 0U);
}

TEST(Replication, ACommandThatNobodyAnswersEndsInTime) {
  const SilentServer server;
  database::postgres::ReplicationConnection connection(server.target(std::chrono::milliseconds(300)));
  const auto began = std::chrono::steady_clock::now();
  try {
    connection.row("IDENTIFY_SYSTEM");
    ADD_FAILURE() << "it was answered";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::Unreachable);
    EXPECT_NE(std::string(error.what()).find("no answer within"), std::string::npos) << error.what();
  }
  EXPECT_LT(secondsSince(began), 3);
}

TEST(Replication, AWaitForTheServerEndsWhenItIsToldTo) {
  const SilentServer server;
  const interrupt::Switch stop;
  const interrupt::Minding minding(stop);
  database::postgres::ReplicationConnection connection(server.target(std::chrono::milliseconds(20'000)));
  const std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop.turn();
  });
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THROW(connection.row("IDENTIFY_SYSTEM"), Error);
  EXPECT_LT(secondsSince(began), 1);
}

TEST(Outlook, AHistoryThatOthersHaveGoneBeyondIsNotTaken) {
  postgres::Outlook outlook;
  EXPECT_TRUE(outlook.minds("7", 1));
  EXPECT_TRUE(outlook.minds("7", 1));
  EXPECT_TRUE(outlook.minds("7", 3));
  EXPECT_FALSE(outlook.minds("7", 1));
  EXPECT_FALSE(outlook.minds("7", 2));
  EXPECT_TRUE(outlook.minds("7", 3));
  EXPECT_TRUE(outlook.minds("8", 1)) << "another cluster: restored, or made anew";
}

TEST(PostgresPool, TheLookAtTheServerIsOneOfItsConnections) {
  TestDatabase test(Engine::Postgres);
  auto target = test.target();
  target.pool_size = 2;
  target.acquire_timeout = std::chrono::milliseconds(50);
  const auto database = openDatabase(target);
  database->ping();
  EXPECT_EQ(database->whyReadOnly(), "");
  database->read([&](Connection& connection) {
    connection.query("SELECT 1", {});
    EXPECT_THROW(database->query("SELECT 1"), Error) << "the other one is taken";
    database->ping();  // looks all the same
    EXPECT_EQ(database->pool().available, 0U);
  });
  EXPECT_EQ(database->pool().available, 1U);
}

TEST(PostgresPool, OfOneLooksAndWorksWithIt) {
  TestDatabase test(Engine::Postgres);
  auto target = test.target();
  target.pool_size = 1;
  const auto database = openDatabase(target);
  database->ping();
  EXPECT_EQ(database->query("SELECT 1")[0].integer(0), 1);
  EXPECT_EQ(database->pool().available, 1U);
}

}  // namespace
}  // namespace aragora::database
