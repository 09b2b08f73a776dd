#include "daemon/providers/call_slots.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace aragora::providers {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Until so many wait.
void waitFor(const CallSlots& slots, std::size_t waiting) {
  const auto deadline = deadlineIn(seconds(20));
  while (slots.numbers().waiting != waiting && remaining(deadline).count() > 0)
    std::this_thread::sleep_for(milliseconds(1));
  ASSERT_EQ(slots.numbers().waiting, waiting);
}

TEST(CallSlots, WhoComesFirstIsServedFirstAndNobodyOvertakes) {
  CallSlots slots(1);
  auto held = slots.take({}, deadlineIn(seconds(20)));
  ASSERT_TRUE(held);
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&, i] {
      const auto slot = slots.take({}, deadlineIn(seconds(20)));
      ASSERT_TRUE(slot);
      EXPECT_EQ(slots.numbers().taken, 1U);
      const std::lock_guard lock(mutex);
      order.push_back(i);
    });
    waitFor(slots, static_cast<std::size_t>(i) + 1);
  }
  held.reset();
  threads.clear();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(slots.numbers().taken, 0U);
  EXPECT_EQ(slots.numbers().waiting, 0U);
}

TEST(CallSlots, WhoIsStoppedOrOutOfTimeLeavesTheLineAndTakesNothing) {
  CallSlots slots(1);
  auto held = slots.take({}, deadlineIn(seconds(20)));
  EXPECT_FALSE(slots.take({}, deadlineIn(milliseconds(10))));
  std::stop_source stop;
  bool served = true;
  std::jthread one([&] { served = slots.take(stop.get_token(), deadlineIn(seconds(60))).has_value(); });
  waitFor(slots, 1);
  stop.request_stop();
  one.join();
  EXPECT_FALSE(served);
  EXPECT_EQ(slots.numbers().waiting, 0U);
  held.reset();
  EXPECT_TRUE(slots.take(stop.get_token(), deadlineIn(milliseconds(10)))) << "what is free is not waited for";
}

TEST(CallSlots, WhoWaitsInVainLeavesWithoutLosingAnybodysPlace) {
  CallSlots slots(1);
  auto held = slots.take({}, deadlineIn(seconds(20)));
  std::atomic<bool> in_vain{false};
  bool first = true;
  bool second = false;
  std::jthread one(
      [&] { first = slots.take({}, deadlineIn(seconds(60)), [&] { return in_vain.load(); }).has_value(); });
  waitFor(slots, 1);
  std::jthread two([&] { second = slots.take({}, deadlineIn(seconds(60)), [] { return false; }).has_value(); });
  waitFor(slots, 2);
  in_vain = true;
  one.join();
  EXPECT_FALSE(first);
  EXPECT_EQ(slots.numbers().waiting, 1U);
  held.reset();
  two.join();
  EXPECT_TRUE(second);
  EXPECT_EQ(slots.numbers().taken, 0U);
}

// Some give up in the very moment in which they are served.
TEST(CallSlots, NoSlotIsLostOrGivenTwice) {
  constexpr std::size_t kMost = 3;
  CallSlots slots(kMost);
  std::atomic<std::size_t> inside{0};
  std::atomic<std::size_t> highest{0};
  std::atomic<int> served{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 16; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 300; ++i) {
          std::stop_source stop;
          std::jthread stopper;
          if (i % 11 == 0) stopper = std::jthread([&stop] { stop.request_stop(); });
          const auto patience =
              (t + i) % 3 == 0 ? std::chrono::microseconds(i) : std::chrono::microseconds(seconds(20));
          const auto slot = slots.take(stop.get_token(), std::chrono::steady_clock::now() + patience);
          if (!slot) continue;
          const auto now = ++inside;
          for (auto seen = highest.load(); now > seen && !highest.compare_exchange_weak(seen, now);) continue;
          if (i % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
          ++served;
          --inside;
        }
      });
    }
  }
  EXPECT_LE(highest, kMost);
  EXPECT_GE(served, 16 * 150) << "the patient ones all had their turn";
  EXPECT_EQ(slots.numbers().taken, 0U);
  std::vector<CallSlots::Slot> all;
  for (std::size_t i = 0; i < kMost; ++i) {
    auto slot = slots.take({}, deadlineIn(milliseconds(10)));
    ASSERT_TRUE(slot);
    all.push_back(std::move(*slot));
  }
  EXPECT_FALSE(slots.take({}, deadlineIn(milliseconds(10))));
}

}  // namespace
}  // namespace aragora::providers
