#include "common/database/waiting_line.h"

#include <gtest/gtest.h>

#include <thread>

namespace aragora::database {
namespace {

using std::chrono::milliseconds;

// One thing, and who wants it.
struct Thing {
  std::mutex mutex;
  WaitingLine line;
  bool there = true;
  std::vector<int> had;  // who had it, in that order

  bool take(int who, Deadline until = deadlineIn(std::chrono::seconds(20)), const std::stop_token& stop = {}) {
    std::unique_lock lock(mutex);
    WaitingLine::Place place(line);
    place.wait(lock, stop, until, [&] { return place.first() && there; });
    if (!place.first() || !there) return false;
    there = false;
    had.push_back(who);
    return true;
  }
  void giveBack() {
    const std::lock_guard lock(mutex);
    there = true;
    line.wakeFirst();
  }
  void awaitLine(std::size_t size) {
    for (int i = 0; i < 2000; ++i) {
      if (const std::lock_guard lock(mutex); line.size() == size) return;
      std::this_thread::sleep_for(milliseconds(5));
    }
    ADD_FAILURE() << "nobody came";
  }
};

TEST(WaitingLine, WhoCameFirstIsServedFirstAlsoBeforeWhoeverGivesBackAndWantsAgain) {
  Thing thing;
  ASSERT_TRUE(thing.take(0));
  std::vector<std::jthread> threads;
  for (int who = 1; who <= 5; ++who) {
    threads.emplace_back([&thing, who] {
      EXPECT_TRUE(thing.take(who));
      thing.giveBack();
    });
    thing.awaitLine(static_cast<std::size_t>(who));
  }
  for (int again = 0; again < 3; ++again) {  // at once: the others have not even woken
    thing.giveBack();
    ASSERT_TRUE(thing.take(10 + again));
  }
  threads.clear();
  EXPECT_EQ(std::vector<int>(thing.had.begin(), thing.had.begin() + 7), (std::vector<int>{0, 1, 2, 3, 4, 5, 10}));
}

TEST(WaitingLine, WhoGivesUpKeepsNobodyBack) {
  Thing thing;
  ASSERT_TRUE(thing.take(0));
  std::stop_source stop;
  std::jthread stopped([&] { EXPECT_FALSE(thing.take(1, deadlineIn(std::chrono::seconds(20)), stop.get_token())); });
  thing.awaitLine(1);
  std::jthread late([&] { EXPECT_FALSE(thing.take(2, deadlineIn(milliseconds(50)))); });
  thing.awaitLine(2);
  std::jthread last([&] { EXPECT_TRUE(thing.take(3)); });
  late.join();
  stop.request_stop();
  stopped.join();
  thing.giveBack();
  last.join();
  EXPECT_EQ(thing.had, (std::vector<int>{0, 3}));
}

}  // namespace
}  // namespace aragora::database
