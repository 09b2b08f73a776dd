#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <random>

#include "common/backup/create.h"
#include "common/backup/restore.h"
#include "common/backup/verify_backup.h"
#include "common/base/error.h"
#include "common/base/subprocess.h"
#include "common/config/catalogue.h"
#include "common/crypto/hash.h"
#include "common/database/database.h"
#include "common/database/sqlite/usage_lock.h"
#include "common/migrate/migrator.h"
#include "common/redis/client.h"
#include "common/store/debates.h"
#include "common/verify/verify.h"
#include "tests/integration/services.h"

namespace aragora::backup {
namespace {

using database::Connection;
using database::Engine;

// A deployment with some debates in it and a repository beside it.
struct Deployment {
  TestDatabase test;
  crypto::Keyring keyring{Secret(toHex(crypto::randomBytes(32)))};
  fs::path repository = test.directory() / "backups";

  explicit Deployment(Engine engine) : test(engine) {
    migrate::Migrator(test.target()).up();
    addDebates(20);
  }

  void addDebates(int count) {
    const auto database = database::openDatabase(test.target());
    store::Debates debates(*database, keyring);
    for (int i = 0; i < count; ++i) {
      store::Debate debate;
      debate.id = newUlid();
      debate.task = "task " + toHex(crypto::randomBytes(50));
      debate.agents = {"demo-optimist", "demo-skeptic"};
      debate.rounds = 1;
      debate.consensus_kind = "majority";
      debate.metadata = "{}";
      debate.created_at = nowMicros();
      debates.create(debate);
    }
  }

  std::int64_t debateCount(const database::Target& target) const {
    return database::connect(target)->query("SELECT count(*) FROM debates", {})[0].integer(0);
  }

  CreateOptions createOptions() const {
    CreateOptions options;
    options.directory = repository;
    options.target = test.target();
    options.keyring = &keyring;
    return options;
  }

  Entry create() const { return createBackup(createOptions()); }

  VerifyReport verify(const Entry& entry, int level = 2) const {
    return verifyBackup(
        entry,
        {level, &keyring, test.target().engine == Engine::Postgres ? std::optional(test.target()) : std::nullopt, {}});
  }

  RestoreReport restore(const Entry& entry, bool check = false) const {
    RestoreOptions options;
    options.target = test.target();
    options.keyring = &keyring;
    options.verify = check;
    return restoreBackup(entry, options);
  }
};

class Backup : public testing::TestWithParam<Engine> {};

TEST_P(Backup, RestoresWhatWasThereAndKeepsWhatIsReplaced) {
  Deployment deployment(GetParam());
  const auto entry = deployment.create();
  for (int level = 0; level <= 2; ++level) EXPECT_NO_THROW(deployment.verify(entry, level)) << level;
  deployment.addDebates(5);
  const auto report = deployment.restore(entry, true);
  EXPECT_EQ(deployment.debateCount(deployment.test.target()), 20);
  auto kept = deployment.test.target();
  if (GetParam() == Engine::Sqlite)
    kept.path = report.kept;
  else
    kept.url = database::postgres::withDatabase(kept.url, report.kept);
  EXPECT_EQ(deployment.debateCount(kept), 25);
  if (GetParam() == Engine::Postgres) dropDatabase(report.kept);
  verify::Options how;
  how.keyring = &deployment.keyring;
  EXPECT_EQ(verify::verifyDatabase(deployment.test.target(), how).exitStatus(), 0);
}

TEST_P(Backup, AnIndexOrATableMoreOrLessIsAWarningOfARestoreAndNoRefusal) {
  Deployment deployment(GetParam());
  {
    const auto connection = database::connect(deployment.test.target());
    connection->executeScript("CREATE TABLE of_the_operator (id INTEGER)");
    connection->executeScript("CREATE INDEX of_the_operator_too ON debates (task)");
    connection->executeScript("DROP INDEX debates_by_status");
  }
  const auto entry = deployment.create();
  deployment.addDebates(3);
  const auto report = deployment.restore(entry, true);
  EXPECT_EQ(deployment.debateCount(deployment.test.target()), 20);
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_EQ(report.warnings[0].substr(0, 7), "schema:") << report.warnings[0];
  EXPECT_EQ(report.verified.size(), 9U);
  if (GetParam() == Engine::Postgres) dropDatabase(report.kept);
}

TEST_P(Backup, DataThatDoesNotVerifyIsNotSwappedInButKeptAndNamed) {
  Deployment deployment(GetParam());
  database::connect(deployment.test.target())
      ->executeScript("UPDATE debates SET status = 'completed' WHERE id = (SELECT min(id) FROM debates)");
  const auto entry = deployment.create();
  deployment.addDebates(3);
  try {
    deployment.restore(entry, true);
    FAIL() << "restored";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::Damaged) << error.what();
    EXPECT_NE(std::string(error.what()).find("events: debate"), std::string::npos) << error.what();
    const auto name = error.hint().substr(error.hint().rfind(' ') + 1);
    auto kept = deployment.test.target();
    if (GetParam() == Engine::Sqlite)
      kept.path = name;
    else
      kept.url = database::postgres::withDatabase(kept.url, name);
    EXPECT_EQ(deployment.debateCount(kept), 20) << error.hint();
    if (GetParam() == Engine::Postgres) dropDatabase(name);
  }
  EXPECT_EQ(deployment.debateCount(deployment.test.target()), 23) << "the target was touched";
}

TEST_P(Backup, ChainsItsManifestsAndPointsLatestAtTheNewest) {
  Deployment deployment(GetParam());
  const auto first = deployment.create();
  const auto second = deployment.create();
  EXPECT_EQ(second.manifest->previous_sha256, first.manifest_sha256);
  const Repository repository(deployment.repository, &deployment.keyring);
  EXPECT_EQ(repository.resolve("latest").id, second.id);
  EXPECT_EQ(repository.resolve(first.id).id, first.id);
  EXPECT_THROW(repository.resolve("nothing-like-it"), Error);
}

// 200 flips and truncations of every file of a backup: all found, and the target is never touched.
TEST_P(Backup, EveryFlipAndTruncationOfEveryFileIsFoundAndNothingIsRestored) {
  Deployment deployment(GetParam());
  const auto entry = deployment.create();
  deployment.addDebates(1);
  std::mt19937 random(7);
  for (const auto& item : fs::directory_iterator(entry.directory.path())) {
    const auto original = readFile(item.path());
    for (int i = 0; i < 200; ++i) {
      auto broken = original;
      const auto at = random() % broken.size();
      if (i % 2 == 0)
        broken[at] = static_cast<char>(broken[at] ^ (1U << random() % 8));
      else
        broken.resize(at);
      std::ofstream(item.path(), std::ios::binary | std::ios::trunc) << broken;
      // The signature file is hexadecimal with a final newline: other spellings of the same bytes are not damage.
      if (fromHex(trim(broken)) == fromHex(trim(original)) && item.path().extension() == ".sig") continue;
      try {
        deployment.restore(Repository::read(entry.directory));
        FAIL() << item.path() << " change " << i << " at " << at;
      } catch (const Error& error) {
        EXPECT_EQ(info(error.code()).exit_status, 65) << error.what();
      }
    }
    std::ofstream(item.path(), std::ios::binary | std::ios::trunc) << original;
  }
  EXPECT_EQ(deployment.debateCount(deployment.test.target()), 21);
  EXPECT_NO_THROW(deployment.verify(Repository::read(entry.directory), 0));
}

TEST_P(Backup, AnotherKeyIsRefused) {
  Deployment deployment(GetParam());
  const auto entry = deployment.create();
  const crypto::Keyring other{Secret(toHex(crypto::randomBytes(32)))};
  EXPECT_THROW(verifyBackup(entry, {0, &other, std::nullopt, {}}), Error);
}

// SIGKILL at any moment of a run: `latest` stays, and no half backup is listed as good.
TEST_P(Backup, AKillAtAnyMomentLeavesThePreviousOne) {
  Deployment deployment(GetParam());
  const auto first = deployment.create();
  std::mt19937 random(11);
  for (int round = 0; round < 15; ++round) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      try {
        deployment.create();
      } catch (...) {
      }
      ::_exit(0);
    }
    ::usleep(random() % (GetParam() == Engine::Sqlite ? 15'000 : 300'000));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    const Repository repository(deployment.repository, &deployment.keyring);
    EXPECT_NO_THROW(deployment.verify(repository.resolve("latest"), 1));
    for (const auto& entry : repository.list()) EXPECT_NO_THROW(deployment.verify(entry, 0)) << entry.id;
  }
  deployment.create();
  for (const auto& item : fs::directory_iterator(deployment.repository / "full")) {
    EXPECT_FALSE(startsWith(item.path().filename().string(), ".")) << item.path();
  }
}

TEST_P(Backup, OpensWithTheStockPrograms) {
  Deployment deployment(GetParam());
  const auto entry = deployment.create();
  const auto identity = deployment.test.directory() / "identity";
  writeFileAtomically(identity, crypto::formatAgeIdentity(deployment.keyring.backupIdentity()) + "\n", 0600);
  const auto stored = entry.directory.path() / entry.manifest->file("database")->path;
  const auto plain = deployment.test.directory() / "plain";
  const auto result = runCommand(
      {{"sh", "-c",
        fmt::format("age -d -i {} {} | zstd -d -q -o {}", identity.string(), stored.string(), plain.string())},
       {},
       false},
      std::chrono::seconds(30));
  ASSERT_EQ(result.status, 0) << result.error_output;
  EXPECT_EQ(crypto::sha256Hex(readFile(plain)), entry.manifest->file("database")->plain_sha256);
  const auto listed = GetParam() == Engine::Sqlite
                          ? runCommand({{"sqlite3", plain.string(), "SELECT count(*) FROM debates"}, {}, false},
                                       std::chrono::seconds(30))
                          : runCommand({{"pg_restore", "--list", plain.string()}, {}, false}, std::chrono::seconds(30));
  EXPECT_EQ(listed.status, 0) << listed.error_output;
  EXPECT_NE(listed.output.find(GetParam() == Engine::Sqlite ? "20" : "TABLE DATA"), std::string::npos);
}

TEST_P(Backup, SessionsInRedisComeBackAndLiveOnesWin) {
  Deployment deployment(GetParam());
  // A Redis database for each engine: the tests run side by side.
  auto text = service("TEST_REDIS");
  text.back() = GetParam() == Engine::Sqlite ? '1' : '2';
  const Secret url(text);
  redis::Client client(url, std::chrono::seconds(5));
  const auto prefix = "aragora:session:test-" + newUlid();
  client.command({"SET", prefix + "-a", std::string("va\0lue", 6), "PX", "600000"});
  client.command({"SET", prefix + "-b", "lasting"});
  client.command({"SET", prefix + "-c", "old"});
  config::Config config;
  config.add(config::key::kRedisUrl, {url, {config::Source::Flag, "test"}});
  auto options = deployment.createOptions();
  options.config = &config;
  const auto entry = createBackup(options);
  ASSERT_NE(entry.manifest->file("sessions"), nullptr);
  for (const auto* suffix : {"-a", "-b"}) client.command({"DEL", prefix + suffix});
  client.command({"SET", prefix + "-c", "live"});

  RestoreOptions how;
  how.target = deployment.test.target();
  how.keyring = &deployment.keyring;
  how.redis_url = url;
  const auto report = restoreBackup(entry, how);
  EXPECT_EQ(report.sessions, 2U);
  EXPECT_EQ(client.command({"GET", prefix + "-a"}).text, std::string("va\0lue", 6));
  EXPECT_GT(client.command({"PTTL", prefix + "-a"}).integer, 500'000);
  EXPECT_EQ(client.command({"PTTL", prefix + "-b"}).integer, -1);
  EXPECT_EQ(client.command({"GET", prefix + "-c"}).text, "live");
  for (const auto* suffix : {"-a", "-b", "-c"}) client.command({"DEL", prefix + suffix});
  if (GetParam() == Engine::Postgres) dropDatabase(report.kept);
}

TEST_P(Backup, OverlappingRunsAreRefused) {
  Deployment deployment(GetParam());
  const auto lock = Repository(deployment.repository, &deployment.keyring).lock(std::chrono::seconds(0));
  try {
    deployment.create();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(info(error.code()).exit_status, 75);
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Backup, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

// integrity_check says "ok" of torn copies, so the workload has an invariant: the sum of all balances.
TEST(BackupSqlite, IsConsistentUnderSaturatingWriters) {
  Deployment deployment(Engine::Sqlite);
  const auto database = database::openDatabase(deployment.test.target());
  database->write([](Connection& c) {
    c.query("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, filler TEXT)", {});
    for (int i = 0; i < 500; ++i)
      c.query("INSERT INTO accounts VALUES ($1, 1000, $2)", {std::int64_t{i}, std::string(500, 'x')});
  });
  std::atomic<bool> stop{false};
  std::atomic<int> transfers{0};
  // Joins whatever happens.
  struct Writers {
    std::atomic<bool>& stop;
    std::vector<std::thread> threads;
    ~Writers() {
      stop = true;
      for (auto& thread : threads) thread.join();
    }
  };
  {
    Writers writers{stop, {}};
    for (int w = 0; w < 4; ++w) {
      writers.threads.emplace_back([&, w] {
        std::mt19937 random(static_cast<unsigned>(w));
        while (!stop) {
          database->write([&](Connection& c) {
            c.query("UPDATE accounts SET balance = balance - 1 WHERE id = $1",
                    {static_cast<std::int64_t>(random() % 500)});
            c.query("UPDATE accounts SET balance = balance + 1 WHERE id = $1",
                    {static_cast<std::int64_t>(random() % 500)});
          });
          ++transfers;
        }
      });
    }
    for (int round = 0; round < 20; ++round) {
      const auto entry = deployment.create();
      const auto copy = deployment.test.directory() / fmt::format("copy{}.db", round);
      landSqlite(entry, deployment.keyring, copy);
      database::Target target;
      target.path = copy;
      EXPECT_EQ(database::connect(target)->query("SELECT sum(balance) FROM accounts", {})[0].integer(0), 500'000)
          << round;
    }
  }
  EXPECT_GT(transfers, 100);
}

TEST(BackupSqlite, ARestoreIsRefusedWhileADaemonUsesTheDatabase) {
  Deployment deployment(Engine::Sqlite);
  const auto entry = deployment.create();
  const auto daemon = database::sqlite::UsageLock::tryAcquire(deployment.test.target().path);
  EXPECT_THROW(deployment.restore(entry), Error);
}

TEST(BackupSqlite, AFullDiskLeavesThePreviousBackupAndNoHalfOne) {
  Deployment deployment(Engine::Sqlite);
  const auto mount = deployment.test.directory() / "small";
  fs::create_directory(mount);
  const auto asRoot = [](std::vector<std::string> command) {
    if (::geteuid() != 0) command.insert(command.begin(), "sudo");
    return runCommand({command, {}, false}, std::chrono::seconds(10)).status;
  };
  ASSERT_EQ(asRoot({"mount", "-t", "tmpfs", "-o", "size=300k,mode=1777", "tmpfs", mount.string()}), 0);
  deployment.repository = mount / "backups";
  const auto first = deployment.create();
  const auto database = database::openDatabase(deployment.test.target());
  database->write([](Connection& c) {
    for (int i = 0; i < 100; ++i)
      c.query("INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, 1)",
              {fmt::format("n{}", i), toHex(crypto::randomBytes(3000))});
  });
  try {
    deployment.create();
    ADD_FAILURE() << "the file system should have been too small";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("No space left"), std::string::npos) << error.what();
  }
  const Repository repository(deployment.repository, &deployment.keyring);
  EXPECT_EQ(repository.list().size(), 1U);
  EXPECT_EQ(repository.resolve("latest").id, first.id);
  EXPECT_NO_THROW(deployment.verify(repository.resolve("latest"), 2));
  asRoot({"umount", mount.string()});
}

class Verify : public testing::TestWithParam<Engine> {
 protected:
  Deployment deployment_{GetParam()};
  verify::Report after(const std::string& sql) {
    if (!sql.empty()) {
      const auto connection = database::connect(deployment_.test.target());
      if (GetParam() == Engine::Sqlite) connection->executeScript("PRAGMA foreign_keys=OFF");
      connection->executeScript(sql);
    }
    verify::Options how;
    how.keyring = &deployment_.keyring;
    return verify::verifyDatabase(deployment_.test.target(), how);
  }
  static std::string failed(const verify::Report& report) {
    for (const auto& finding : report.findings) {
      if (finding.outcome == verify::Outcome::Failed) return finding.id;
    }
    return "none";
  }
};

TEST_P(Verify, FindsNothingWrongWithHealthyData) { EXPECT_EQ(after("").exitStatus(), 0); }

TEST_P(Verify, NamesAnAlteredEvent) {
  const auto report = after(
      "UPDATE debate_events SET payload = '{\"task\":\"forged\"}' WHERE debate_id = (SELECT min(id) FROM debates)");
  EXPECT_EQ(failed(report), "events");
  EXPECT_EQ(report.exitStatus(), 65);
}

TEST_P(Verify, FindsARemovedEventAndASummaryThatDoesNotFit) {
  EXPECT_EQ(failed(after("UPDATE debates SET status = 'completed' WHERE id = (SELECT min(id) FROM debates)")),
            "events");
}

TEST_P(Verify, FindsAMissingIndexAndAnEditedMigration) {
  const auto report = after("DROP INDEX debates_by_status");
  EXPECT_EQ(failed(report), "schema");
  EXPECT_EQ(report.againstRestored(), nullptr) << "an index holds no data";
  EXPECT_EQ(failed(after("UPDATE aragora_migrations SET checksum = 'x' WHERE version = 1")), "migrations");
}

TEST_P(Verify, ATableThatIsGoneSpeaksAgainstRestoredDataAndTheRestIsLookedAtAllTheSame) {
  const auto report = after("DROP TABLE ratings");
  ASSERT_NE(report.againstRestored(), nullptr);
  EXPECT_EQ(report.againstRestored()->id, "schema");
  EXPECT_EQ(report.findings.size(), 10U);
  EXPECT_EQ(report.findings[3].outcome, verify::Outcome::Ok) << report.findings[3].message;
}

TEST_P(Verify, FindsARatingThatTheMatchLogDoesNotGive) {
  EXPECT_EQ(failed(after("INSERT INTO ratings (agent_name, elo, updated_at) VALUES ('cheat', 3000, 1)")), "ratings");
}

INSTANTIATE_TEST_SUITE_P(Engines, Verify, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::backup
