#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/scratch.h"
#include "common/migrate/fingerprint.h"
#include "common/migrate/migration.h"
#include "common/migrate/table_locks.h"

namespace aragora::migrate {
namespace {

std::vector<std::string> texts(std::string_view sql) {
  std::vector<std::string> result;
  for (const auto& statement : splitStatements(sql, "test")) result.push_back(statement.text);
  return result;
}

TEST(Lexer, SemicolonsInsideQuotesAndCommentsDoNotSplit) {
  EXPECT_EQ(texts("SELECT 'a;b'; SELECT \"c;d\"; -- e;f\nSELECT 1 /* ; /* nested ; */ ; */;"),
            (std::vector<std::string>{"SELECT 'a;b'", "SELECT \"c;d\"", "SELECT 1"}));
  EXPECT_EQ(texts("SELECT E'a\\';b'; SELECT 'it''s;'"),
            (std::vector<std::string>{"SELECT E'a\\';b'", "SELECT 'it''s;'"}));
  EXPECT_EQ(
      texts("CREATE FUNCTION f() RETURNS int AS $$ BEGIN; RETURN 1; END $$ LANGUAGE plpgsql; SELECT $x$;$x$").size(),
      2U);
  EXPECT_EQ(texts("CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET x = CASE WHEN 1 THEN 2 END; DELETE FROM b; "
                  "END; SELECT 1")
                .size(),
            2U);
  EXPECT_TRUE(texts(" ;; -- nothing\n/* here */").empty());
}

TEST(Lexer, RefusesWhatDoesNotBelongInAMigration) {
  for (const auto* sql : {"BEGIN; SELECT 1", "SELECT 1; COMMIT", "\\d table", "COPY t FROM STDIN", "SELECT 'open",
                          "SELECT $a$ open", "/* open", "ROLLBACK"}) {
    EXPECT_THROW(splitStatements(sql, "test"), Error) << sql;
  }
}

TEST(Lexer, ErrorsNameTheLine) {
  try {
    splitStatements("SELECT 1;\n\nCOMMIT;", "0009_x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("0009_x line 3"), std::string::npos) << error.what();
  }
}

TEST(Checksums, DoNotDependOnLineEndsOrTrailingBlanks) {
  EXPECT_EQ(normalise("\xEF\xBB\xBF"
                      "a  \r\nb\r\n\r\n"),
            normalise("a\nb"));
  EXPECT_NE(normalise("a b"), normalise("a  b"));
}

TEST(Migrations, BothEnginesHaveTheSameVersionsAndAWayBack) {
  const auto& postgres = migrationsFor(database::Engine::Postgres);
  const auto& sqlite = migrationsFor(database::Engine::Sqlite);
  ASSERT_EQ(postgres.size(), sqlite.size());
  for (std::size_t i = 0; i < postgres.size(); ++i) {
    EXPECT_EQ(postgres[i].name, sqlite[i].name);
    for (const auto* migration : {&postgres[i], &sqlite[i]}) {
      EXPECT_FALSE(splitStatements(migration->up, migration->name).empty());
      EXPECT_FALSE(splitStatements(migration->down, migration->name).empty());
    }
  }
}

// SQLite's name for no file is not to become one.
TEST(ExpectedSchema, IsBuiltInMemoryAndLeavesNoFile) {
  const TemporaryDirectory directory;
  const auto before = fs::current_path();
  fs::current_path(directory.path());
  database::Target target;
  target.engine = database::Engine::Sqlite;
  target.path = directory.path() / "not-opened.db";
  EXPECT_FALSE(expectedSchema(target, 1).empty());
  database::Target memory = target;
  memory.path = ":memory:";
  database::connect(memory, database::OpenMode::Create)->query("CREATE TABLE t (a)", {});
  fs::current_path(before);
  EXPECT_TRUE(fs::is_empty(directory.path()));
}

TEST(Locks, TheStrongestOnTablesThatAreThereComesFirst) {
  const auto first = [](std::string_view sql) { return lockFirst(splitStatements(sql, "test")); };
  EXPECT_EQ(first("CREATE TABLE a (b text REFERENCES debates (id)); ALTER TABLE debates ADD COLUMN c integer; "
                  "ALTER TABLE a ADD COLUMN d integer; DROP TABLE IF EXISTS users; ALTER TABLE debates DROP COLUMN e"),
            "LOCK TABLE debates, users IN ACCESS EXCLUSIVE MODE");
  EXPECT_EQ(first("CREATE TABLE IF NOT EXISTS a (b text); CREATE INDEX c ON a (b)"), "");
}

}  // namespace
}  // namespace aragora::migrate
