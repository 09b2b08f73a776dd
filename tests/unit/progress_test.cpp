#include "common/base/progress.h"

#include <gtest/gtest.h>

#include <future>

#include "common/base/terminal_line.h"
#include "common/base/text.h"

namespace aragora {
namespace {

using namespace std::chrono_literals;

class View : public testing::Test {
 protected:
  // As it is seen every 200 ms while `done` grows by `each` and `time` passes.
  std::string after(std::chrono::milliseconds time, std::uint64_t each = 0) {
    for (auto passed = 0ms; passed < time; passed += 200ms) {
      line();
      now_ += 200ms;
      progress_.add(each);
    }
    return line();
  }
  std::string line() { return view_.line(now_).value_or("nothing"); }

  Progress progress_;
  ProgressView view_{"backup", progress_};
  ProgressView::Time now_{};
};

TEST_F(View, NothingIsShownBeforeAnythingHasBegun) { EXPECT_EQ(line(), "nothing"); }

TEST_F(View, TotalRateAndWhatIsLeft) {
  progress_.begin({"reading the database", 4'800'000'000});
  EXPECT_EQ(line(), "backup: reading the database, 0 B of 4.8 GB");
  EXPECT_EQ(after(3s, 42'000'000), "backup: reading the database, 630.0 MB of 4.8 GB, 210.0 MB/s, 20 s left");
}

TEST_F(View, TheTimeLeftIsToldOnceItMeansSomething) {
  progress_.begin({"copying", 1'000'000'000});
  EXPECT_EQ(after(800ms, 1'000'000), "backup: copying, 4.0 MB of 1.0 GB");
  EXPECT_EQ(after(1s, 1'000'000), "backup: copying, 9.0 MB of 1.0 GB, 5.0 MB/s");
  EXPECT_EQ(after(2s, 1'000'000), "backup: copying, 19.0 MB of 1.0 GB, 5.0 MB/s, 3 min 16 s left");
}

TEST_F(View, TheRateIsThatOfTheLastSeconds) {
  progress_.begin({"copying", 10'000'000'000});
  after(60s, 20'000'000);
  EXPECT_EQ(after(12s, 2'000'000), "backup: copying, 6.1 GB of 10.0 GB, 10.0 MB/s, 6 min 28 s left");
}

TEST_F(View, WhatStandsStillHasNoTimeLeft) {
  progress_.begin({"copying", 1'000});
  after(1s, 100);
  EXPECT_EQ(after(20s), "backup: copying, 500 B of 1.0 kB, 0 B/s");
}

TEST_F(View, AnEstimateSaysSoAndIsDroppedWhenItWasTooSmall) {
  progress_.begin({"reading the database", 5'000'000, true});
  EXPECT_EQ(after(4s, 200'000), "backup: reading the database, 4.0 MB of about 5.0 MB, 1.0 MB/s, about 1 s left");
  EXPECT_EQ(after(2s, 200'000), "backup: reading the database, 6.0 MB, 1.0 MB/s");
}

TEST_F(View, WithoutATotalThereIsWhatIsKnown) {
  progress_.begin({"reading the cluster"});
  EXPECT_EQ(line(), "backup: reading the cluster");
  EXPECT_EQ(after(12s), "backup: reading the cluster, 12 s so far");
  EXPECT_EQ(after(2s, 100'000), "backup: reading the cluster, 1.0 MB, 100.0 kB/s");
}

TEST_F(View, ThingsHaveTheirNames) {
  progress_.begin({.what = "saving debates", .total = 1, .noun = "debate"});
  EXPECT_EQ(line(), "backup: saving debates, 0 of 1 debate");
  progress_.begin({.what = "saving debates", .total = 50'000, .noun = "debate"});
  EXPECT_EQ(after(4s, 60), "backup: saving debates, 1200 of 50000 debates, 300/s, 2 min 43 s left");
}

TEST_F(View, WhatIsUnevenPromisesNothing) {
  progress_.within("migration 2 of 3");
  EXPECT_EQ(line(), "backup: migration 2 of 3");
  progress_.begin({.what = "applying 0002_x", .total = 11, .noun = "statement", .even = false});
  progress_.reach(3);
  EXPECT_EQ(after(75s), "backup: migration 2 of 3: applying 0002_x, 3 of 11 statements, 1 min 15 s so far");
}

TEST_F(View, AnotherPhaseBeginsAnew) {
  progress_.begin({"reading", 1'000'000});
  after(5s, 10'000);
  progress_.begin({"checking", 500'000});
  EXPECT_EQ(after(400ms, 10'000), "backup: checking, 20.0 kB of 500.0 kB");
  progress_.reach(5'000);  // a try that begins anew
  EXPECT_EQ(line(), "backup: checking, 5.0 kB of 500.0 kB");
}

TEST(Teller, ShowsWhileOthersCountAndTheEndExactly) {
  Progress progress;
  std::vector<std::string> lines;
  std::promise<void> enough;
  {
    ProgressTeller::Options how;
    how.interval = 1ms;
    how.at_both_ends = true;
    how.show = [&](std::string_view line) {
      lines.emplace_back(line);
      if (lines.size() == 20) enough.set_value();
    };
    progress.begin({"counting", 4'000'000});
    ProgressTeller teller("test", progress, how);
    std::vector<std::thread> workers;
    for (int i = 0; i < 4; ++i) {
      workers.emplace_back([&] {
        for (int k = 0; k < 1'000'000; ++k) progress.add(1);
      });
    }
    for (auto& worker : workers) worker.join();
    enough.get_future().wait();
  }
  EXPECT_TRUE(startsWith(lines.front(), "test: counting, ")) << lines.front();
  EXPECT_TRUE(startsWith(lines.back(), "test: counting, 4.0 MB of 4.0 MB")) << lines.back();
}

TEST(Teller, ALogHearsNothingOfAShortRun) {
  Progress progress;
  int lines = 0;
  {
    ProgressTeller::Options how;
    how.interval = 1h;
    how.show = [&](std::string_view) { ++lines; };
    ProgressTeller teller("test", progress, how);
    progress.begin({"counting", 10});
    progress.add(10);
  }
  EXPECT_EQ(lines, 0);
}

TEST(TerminalLine, IsCutToTheWidthByCharacters) {
  EXPECT_EQ(terminal_line::cut("backup: 1 of 2", 14), "backup: 1 of 2");
  EXPECT_EQ(terminal_line::cut("backup: 1 of 2", 13), "backup: 1 of…");
  EXPECT_EQ(terminal_line::cut("größer", 4), "grö…");
  EXPECT_EQ(terminal_line::cut("größer", 6), "größer");
  EXPECT_EQ(terminal_line::cut("x", 1), "x");
  EXPECT_EQ(terminal_line::cut("xy", 1), "…");
  EXPECT_EQ(terminal_line::cut("", 1), "");
}

TEST(Numbers, BytesAreOfPowersOfThousand) {
  EXPECT_EQ(humanBytes(0), "0 B");
  EXPECT_EQ(humanBytes(999), "999 B");
  EXPECT_EQ(humanBytes(1000), "1.0 kB");
  EXPECT_EQ(humanBytes(999'949), "999.9 kB");
  EXPECT_EQ(humanBytes(999'950), "1.0 MB");
  EXPECT_EQ(humanBytes(4'800'000'000), "4.8 GB");
  EXPECT_EQ(humanBytes(5'000'000'000'000'000), "5000.0 TB");
  EXPECT_EQ(humanRate(210'000'000), "210.0 MB/s");
  EXPECT_EQ(humanRate(-1), "0 B/s");
}

TEST(Numbers, DurationsHaveAtMostTwoParts) {
  EXPECT_EQ(humanDuration(15ms), "15 ms");
  EXPECT_EQ(humanDuration(3200ms), "3.2 s");
  EXPECT_EQ(humanDuration(59'949ms), "59.9 s");
  EXPECT_EQ(humanDuration(59'950ms), "1 min");
  EXPECT_EQ(humanDuration(119'600ms), "2 min");
  EXPECT_EQ(humanDuration(250s), "4 min 10 s");
  EXPECT_EQ(humanDuration(1h), "1 h");
  EXPECT_EQ(humanDuration(125min), "2 h 5 min");
  EXPECT_EQ(humanDuration(76h), "3 d 4 h");
  EXPECT_EQ(humanDuration(3.25), "3.2 s");
  EXPECT_EQ(humanDuration(0.0), "0 ms");
  EXPECT_EQ(humanSeconds(0), "0 s");
  EXPECT_EQ(humanSeconds(17), "17 s");
  EXPECT_EQ(humanSeconds(7200), "2 h");
}

TEST(Numbers, ThingsAgreeWithTheirNumber) {
  EXPECT_EQ(counted(0U, "backup"), "0 backups");
  EXPECT_EQ(counted(1, "backup"), "1 backup");
  EXPECT_EQ(counted(std::int64_t{2}, "entry"), "2 entries");
  EXPECT_EQ(counted(3, "day"), "3 days");
  EXPECT_EQ(counted(2, "hash"), "2 hashes");
  EXPECT_EQ(counted(2, "address"), "2 addresses");
  EXPECT_EQ(agreeing(1, "is", "are"), "is");
  EXPECT_EQ(agreeing(0U, "is", "are"), "are");
}

}  // namespace
}  // namespace aragora
