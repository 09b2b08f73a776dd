// The real servers that scripts/test starts. A test that needs one which is not there fails.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/database/connection.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora {

inline std::string service(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') {
    ADD_FAILURE() << variable << " is not set: start the servers with scripts/services and source its env file";
    return {};
  }
  return value;
}

// A database of its own for one test: a file, or a PostgreSQL database that is dropped at the end.
class TestDatabase {
 public:
  explicit TestDatabase(database::Engine engine, const char* server = "TEST_POSTGRES") {
    target_.engine = engine;
    if (engine == database::Engine::Sqlite) {
      target_.path = directory_.path() / "test.db";
      return;
    }
    admin_.engine = engine;
    admin_.url = Secret(service("TEST_POSTGRES"));
    name_ = "test_" + lower(newUlid());
    database::connect(admin_)->query("CREATE DATABASE " + name_, {});
    target_.url = database::postgres::withDatabase(Secret(service(server)), name_);
  }
  TestDatabase(const TestDatabase&) = delete;
  TestDatabase& operator=(const TestDatabase&) = delete;
  ~TestDatabase() {
    if (!name_.empty()) database::connect(admin_)->query("DROP DATABASE IF EXISTS " + name_ + " WITH (FORCE)", {});
  }
  const database::Target& target() const { return target_; }
  const fs::path& directory() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
  database::Target admin_;
  database::Target target_;
  std::string name_;
};

inline std::string engineName(const testing::TestParamInfo<database::Engine>& info) {
  return info.param == database::Engine::Sqlite ? "Sqlite" : "Postgres";
}

}  // namespace aragora
