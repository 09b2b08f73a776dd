// The real servers that scripts/test starts. A test that needs one which is not there fails.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/base/scratch.h"
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

// Databases are made and dropped with checkpoints, which a busy disk takes its time for.
inline database::Target administration() {
  database::Target admin;
  admin.engine = database::Engine::Postgres;
  admin.url = Secret(service("TEST_POSTGRES"));
  admin.statement_timeout = std::chrono::minutes(3);
  return admin;
}

inline void dropDatabase(const std::string& name) {
  database::postgres::dropDatabase(*database::connect(administration()), name);
}

// A database of its own for one test: a file, or a PostgreSQL database that is dropped at the end.
class TestDatabase {
 public:
  explicit TestDatabase(database::Engine engine, const char* server = "TEST_POSTGRES") {
    target_.engine = engine;
    target_.connect_timeout = std::chrono::seconds(30);  // how fast the machine is, is not what is tested
    target_.statement_timeout = std::chrono::minutes(1);
    target_.acquire_timeout = std::chrono::minutes(1);
    if (engine == database::Engine::Sqlite) {
      target_.path = directory_.path() / "test.db";
      return;
    }
    name_ = "test_" + lower(newUlid());
    database::connect(administration())->query("CREATE DATABASE " + name_, {});
    target_.url = database::postgres::withDatabase(Secret(service(server)), name_);
  }
  TestDatabase(const TestDatabase&) = delete;
  TestDatabase& operator=(const TestDatabase&) = delete;
  ~TestDatabase() {
    try {
      if (!name_.empty()) dropDatabase(name_);
    } catch (const Error& error) {
      ADD_FAILURE() << name_ << " was not dropped: " << error.what();
    }
  }
  const database::Target& target() const { return target_; }
  const fs::path& directory() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
  database::Target target_;
  std::string name_;
};

inline std::string engineName(const testing::TestParamInfo<database::Engine>& info) {
  return info.param == database::Engine::Sqlite ? "Sqlite" : "Postgres";
}

}  // namespace aragora
