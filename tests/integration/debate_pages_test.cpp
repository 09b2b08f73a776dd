// Pages from remembered keys against counting off, on both engines.
#include "common/store/debate_pages.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "common/migrate/migrator.h"
#include "tests/integration/services.h"

namespace aragora::store {
namespace {

constexpr Micros kHour = 3'600'000'000;

class DebatePagesTest : public testing::TestWithParam<database::Engine> {
 protected:
  TestDatabase test_{GetParam()};
  std::unique_ptr<database::Database> database_ =
      (migrate::Migrator(test_.target()).up(), openDatabase(test_.target()));
  std::mt19937 random_{7};

  // Many share their time, so that the id decides.
  void add(int count, Micros from, const std::vector<std::string>& statuses) {
    database_->write([&](database::Connection& c) {
      for (int i = 0; i < count; ++i) {
        c.query(
            "INSERT INTO debates (id, task, status, agents, rounds, consensus_kind, seed, created_at, updated_at) "
            "VALUES ($1, 'task', $2, '[]', 1, 'majority', 1, $3, $3)",
            {newUlid(), statuses[random_() % statuses.size()], from + i / 3});
      }
    });
  }

  std::vector<std::string> counted(const std::optional<std::string>& status) {
    std::vector<std::string> ids;
    database_->read([&](database::Connection& c) {
      const auto sql = fmt::format("SELECT id FROM debates {} ORDER BY created_at DESC, id DESC",
                                   status ? "WHERE status = '" + *status + "'" : "");
      for (const auto& row : c.query(sql)) ids.push_back(row.text(0));
    });
    return ids;
  }

  void compare(DebatePages& pages, std::optional<DebateStatus> status) {
    const auto all = counted(status ? std::optional(std::string(name(*status))) : std::nullopt);
    const auto total = static_cast<std::int64_t>(all.size());
    for (std::int64_t offset = 0; offset <= total + 7; offset += 7) {
      const auto page = pages.page(status, 20, offset);
      ASSERT_EQ(page.total, total);
      ASSERT_EQ(static_cast<std::int64_t>(page.debates.size()), std::clamp<std::int64_t>(total - offset, 0, 20));
      for (std::size_t i = 0; i < page.debates.size(); ++i)
        ASSERT_EQ(page.debates[i].id, all[static_cast<std::size_t>(offset) + i]) << "offset " << offset;
    }
  }
};

TEST_P(DebatePagesTest, RemovedDebatesShiftTheOthers) {
  add(700, nowMicros() - 3 * kHour, {"completed"});
  DebatePages here(*database_);
  DebatePages elsewhere(*database_);
  compare(here, std::nullopt);
  compare(elsewhere, DebateStatus::Completed);
  const auto all = counted(std::nullopt);
  for (const auto at : {650U, 400U, 399U, 3U})
    database_->write([&](database::Connection& c) { Debates::remove(c, all[at]); });
  here.forget();
  compare(here, std::nullopt);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // as long as another instance may be behind
  compare(elsewhere, DebateStatus::Completed);
}

TEST_P(DebatePagesTest, EveryPageIsWhatCountingOffGives) {
  add(700, nowMicros() - 3 * kHour, {"completed", "failed", "cancelled", "running"});
  add(130, nowMicros() - 1'000'000, {"completed", "created"});
  DebatePages pages(*database_);
  compare(pages, std::nullopt);
  for (const auto status : debateStatuses()) compare(pages, status);
}

TEST_P(DebatePagesTest, KeysStayRightWhenOldDebatesEndAndNewOnesCome) {
  add(400, nowMicros() - 3 * kHour, {"completed", "failed"});
  add(10, nowMicros() - 2 * kHour, {"running"});
  add(400, nowMicros() - kHour, {"completed", "failed"});
  DebatePages pages(*database_);
  compare(pages, std::nullopt);
  compare(pages, DebateStatus::Completed);
  for (int round = 0; round < 2; ++round) {
    // One that started hours ago ends among the old ones; the keys may not have passed it.
    database_->write([](database::Connection& c) {
      c.query(
          "UPDATE debates SET status = 'completed' WHERE id IN (SELECT id FROM debates WHERE status = 'running' "
          "ORDER BY id LIMIT 5)");
    });
    add(90, nowMicros() - 70'000'000, {"completed"});
    compare(pages, std::nullopt);
    compare(pages, DebateStatus::Completed);
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    compare(pages, std::nullopt);
    compare(pages, DebateStatus::Completed);
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, DebatePagesTest,
                         testing::Values(database::Engine::Sqlite, database::Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::store
