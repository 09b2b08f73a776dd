#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "common/base/error.h"
#include "common/migrate/fingerprint.h"
#include "common/migrate/migrator.h"
#include "tests/integration/services.h"

namespace aragora::migrate {
namespace {

using database::Engine;

// Runs `work` in a process of its own; answers its exit status, or 128 + signal.
int inChild(const std::function<int()>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    int status = 70;
    try {
      status = work();
    } catch (const Error& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
      status = info(error.code()).exit_status;
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int upInChild(const database::Target& target, int kill_at = -1) {
  return inChild([&] {
    Options options;
    int statement = 0;
    options.on_statement = [&](const Migration&, std::size_t, std::size_t) {
      if (statement++ == kill_at) ::raise(SIGKILL);
    };
    Migrator(target, options).up();
    return 0;
  });
}

int concurrently(int runs, const database::Target& target) {
  std::vector<pid_t> children;
  for (int i = 0; i < runs; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      int status = 0;
      try {
        Migrator(target).up();
      } catch (const Error& error) {
        std::fprintf(stderr, "child: %s\n", error.what());
        status = info(error.code()).exit_status;
      }
      ::_exit(status);
    }
    children.push_back(pid);
  }
  int failures = 0;
  for (const auto pid : children) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    failures += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
  }
  return failures;
}

int newest(Engine engine) { return static_cast<int>(migrationsFor(engine).size()); }

class Migrate : public testing::TestWithParam<Engine> {};

TEST_P(Migrate, EightConcurrentRunsAllSucceedAndApplyOnce) {
  for (int round = 0; round < 20; ++round) {
    TestDatabase test(GetParam());
    EXPECT_EQ(concurrently(8, test.target()), 0) << "round " << round;
    const auto status = Migrator(test.target()).status();
    EXPECT_TRUE(status.current());
    EXPECT_EQ(status.applied.size(), migrationsFor(GetParam()).size());
    const auto connection = database::connect(test.target());
    EXPECT_EQ(liveSchema(*connection), expectedSchema(test.target(), status.version()));
  }
}

TEST_P(Migrate, AKillAtAnyStatementLeavesWhatAPlainRerunFinishes) {
  int killed = 0;
  for (int at = 0;; ++at) {
    TestDatabase test(GetParam());
    const int status = upInChild(test.target(), at);
    if (status == 0) break;  // past the last statement
    ASSERT_EQ(status, 128 + SIGKILL) << at;
    ++killed;
    ASSERT_EQ(upInChild(test.target()), 0) << at;
    const auto connection = database::connect(test.target());
    EXPECT_EQ(liveSchema(*connection), expectedSchema(test.target(), Migrator(test.target()).status().version())) << at;
  }
  EXPECT_GT(killed, 15);
}

TEST_P(Migrate, AnEditedMigrationIsFoundAndCanBeAccepted) {
  TestDatabase test(GetParam());
  Migrator(test.target()).up();
  Options edited;
  edited.migrations = migrationsFor(GetParam());
  edited.migrations[0].checksum = std::string(64, 'e');
  Migrator migrator(test.target(), edited);
  EXPECT_EQ(migrator.status().drifted.size(), 1U);
  EXPECT_THROW(migrator.up(), Error);
  EXPECT_THROW(migrator.repair(2, "reason"), Error);
  migrator.repair(1, "reformatted by hand");
  EXPECT_TRUE(migrator.status().drifted.empty());
  EXPECT_NE(migrator.status().applied[0].note.find("reformatted by hand"), std::string::npos);
}

TEST_P(Migrate, ANewerDatabaseIsRefused) {
  TestDatabase test(GetParam());
  Migrator(test.target()).up();
  Options older;
  older.migrations = migrationsFor(GetParam());
  older.migrations.pop_back();
  EXPECT_THROW(Migrator(test.target(), older).up(), Error);
}

TEST_P(Migrate, DownRefusesToLoseRowsAndUpComesBack) {
  TestDatabase test(GetParam());
  Migrator migrator(test.target());
  migrator.up();
  database::connect(test.target())->query("INSERT INTO settings (name, value, updated_at) VALUES ('a', 'b', 1)", {});
  EXPECT_THROW(migrator.down({.to = 0}), Error);
  EXPECT_EQ(migrator.status().version(), newest(GetParam()));  // nothing was undone
  const auto all = migrationsFor(GetParam()).size();
  EXPECT_EQ(migrator.down({.to = 0, .dry_run = true}).size(), all);
  EXPECT_EQ(migrator.down({.to = 0, .allow_data_loss = true}).size(), all);
  EXPECT_EQ(migrator.status().version(), 0);
  EXPECT_EQ(migrator.up().size(), all);
  EXPECT_TRUE(migrator.up().empty());
}

TEST_P(Migrate, BaselineRecordsWithoutRunning) {
  TestDatabase test(GetParam());
  Migrator migrator(test.target());
  EXPECT_EQ(migrator.baseline(2).size(), 2U);
  EXPECT_EQ(migrator.status().version(), 2);
  EXPECT_EQ(migrator.status().pending.size(), migrationsFor(GetParam()).size() - 2);
  EXPECT_THROW(migrator.baseline(3), Error);
}

INSTANTIATE_TEST_SUITE_P(Engines, Migrate, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

TEST(MigratePostgres, WorksThroughPgBouncerInTransactionMode) {
  for (int round = 0; round < 20; ++round) {
    TestDatabase test(Engine::Postgres, "TEST_PGBOUNCER");
    EXPECT_EQ(concurrently(8, test.target()), 0);
    EXPECT_TRUE(Migrator(test.target()).status().current());
  }
}

TEST(MigratePostgres, AnInvalidIndexIsBuiltAgain) {
  TestDatabase test(Engine::Postgres);
  Migrator migrator(test.target());
  migrator.up(2);
  const auto connection = database::connect(test.target());
  // A unique index over equal values fails and stays behind INVALID, under the name that migration 3 wants.
  for (int i = 0; i < 2; ++i) {
    connection->query(
        "INSERT INTO debates (id, task, status, agents, rounds, consensus_kind, seed, created_at, updated_at) VALUES "
        "($1, 't', 'created', '[]', 1, 'majority', 1, 5, 5)",
        {fmt::format("d{}", i)});
  }
  EXPECT_THROW(
      connection->executeScript("CREATE UNIQUE INDEX CONCURRENTLY debates_by_creation ON debates (created_at)"), Error);
  EXPECT_EQ(
      connection->query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'debates_by_creation'::regclass", {})[0]
          .text(0),
      "f");
  EXPECT_EQ(migrator.up(3).size(), 1U);
  EXPECT_EQ(liveSchema(*connection), expectedSchema(test.target(), 3));
}

TEST(MigratePostgres, ABusyTableIsTriedAgainAndItsBlockerNamed) {
  TestDatabase test(Engine::Postgres);
  Migrator(test.target()).up();
  auto blocking_target = test.target();
  blocking_target.application_name = "the blocker";
  const auto blocker = database::connect(blocking_target);
  const database::Transaction reading(*blocker);
  blocker->query("SELECT count(*) FROM debates", {});
  Options options;
  options.lock_timeout = std::chrono::milliseconds(50);
  options.lock_tries = 2;
  options.migrations = migrationsFor(Engine::Postgres);
  options.migrations.push_back({newest(Engine::Postgres) + 1, "busy", "ALTER TABLE debates ADD COLUMN extra text;\n",
                                "ALTER TABLE debates DROP COLUMN extra;\n", true, std::string(64, '4')});
  try {
    Migrator(test.target(), options).up();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::Busy);
    EXPECT_NE(std::string(error.what()).find("the blocker"), std::string::npos) << error.what();
  }
  EXPECT_EQ(Migrator(test.target()).status().version(), newest(Engine::Postgres));
}

}  // namespace
}  // namespace aragora::migrate
