// What two who come at the same moment do to each other, without waiting for the moment: a database in which something
// else happens just before a certain statement of a write.
#pragma once

#include <thread>

#include "common/database/database.h"
#include "tests/integration/services.h"

namespace aragora {

class Between : public database::Database {
 public:
  struct Asked {
    std::string sql;
    database::Values values;
    std::size_t rows = 0;
  };
  static constexpr const char* kCommit = "COMMIT";

  Between(database::Database& real, const database::Target& target) : real_(real), target_(target) {}

  // Once, before the next statement of a write with these words, or before its end: begins `work` in a thread of its
  // own, and goes on when that is done or waits for us.
  void before(std::string words, std::function<void()> work) {
    words_ = std::move(words);
    work_ = std::move(work);
  }
  // Whether it was begun; it has ended then.
  bool join() {
    const bool begun = other_.joinable();
    if (begun) other_.join();
    work_ = nullptr;
    return begun;
  }
  // What was asked in writes, with the rows that came.
  std::vector<Asked> asked;

  database::Engine engine() const override { return real_.engine(); }
  void read(const Work& work) override { real_.read(work); }
  database::Rows query(std::string_view sql, const database::Values& values) override {
    return real_.query(sql, values);
  }
  void write(const Work& work) override {
    real_.write([&](database::Connection& connection) {
      Listening listening(connection, *this);
      work(listening);
      hear(kCommit);
    });
  }
  void ping() override { real_.ping(); }
  std::string whyReadOnly() override { return real_.whyReadOnly(); }
  std::string version() override { return real_.version(); }
  PoolState pool() const override { return real_.pool(); }

 private:
  class Listening : public database::Connection {
   public:
    Listening(database::Connection& real, Between& owner) : real_(real), owner_(owner) {}
    database::Engine engine() const override { return real_.engine(); }
    database::Rows query(std::string_view sql, const database::Values& values) override {
      owner_.hear(sql);
      auto rows = real_.query(sql, values);
      owner_.asked.push_back({std::string(sql), values, rows.size()});
      return rows;
    }
    std::int64_t execute(std::string_view sql, const database::Values& values) override {
      owner_.hear(sql);
      owner_.asked.push_back({std::string(sql), values, 0});
      return real_.execute(sql, values);
    }
    void later(database::Statement statement) override {
      owner_.hear(statement.sql);
      owner_.asked.push_back({std::string(statement.sql), statement.values, 0});
      real_.later(std::move(statement));
    }
    void executeScript(std::string_view sql, bool unbounded) override { real_.executeScript(sql, unbounded); }
    bool usable() const override { return real_.usable(); }

   private:
    database::Connection& real_;
    Between& owner_;
  };

  void hear(std::string_view sql) {
    if (!work_ || sql.find(words_) == std::string_view::npos) return;
    done_ = false;
    other_ = std::thread([this, work = std::exchange(work_, nullptr)] {
      work();
      done_ = true;
    });
    if (engine() == database::Engine::Sqlite) return;  // has one writer, which is us
    const auto watcher = database::connect(target_);
    while (!done_ && watcher
                         ->query("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND "
                                 "wait_event_type = 'Lock'")
                         .empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  database::Database& real_;
  database::Target target_;
  std::string words_;
  std::function<void()> work_;
  std::atomic<bool> done_{false};
  std::thread other_;
};

// What a call came to: "" when it was done, the code's name when it was refused, "database" for what the database
// itself said no to, which clients see as a failure of ours.
template <typename Function>
std::string refusalOf(Function&& function) {
  try {
    function();
    return "";
  } catch (const database::Failure& failure) {
    return fmt::format("database: {}", failure.what());
  } catch (const Error& error) {
    return std::string(info(error.code()).name);
  }
}

}  // namespace aragora
