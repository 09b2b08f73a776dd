#include "daemon/api/reports.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>

#include "common/base/error.h"

namespace aragora::api {
namespace {

// Overloaded, or nothing.
template <typename Function>
std::optional<Code> refusal(Function&& function) {
  try {
    function();
    return std::nullopt;
  } catch (const Error& error) {
    return error.code();
  }
}

TEST(Reports, HaveAsManyPlacesAsThereAreAndGetThemBack) {
  Reports reports;
  const auto one_more = [&] { return refusal([&] { const Reports::Place place(reports); }); };
  {
    const Reports::Place first(reports);
    EXPECT_EQ(one_more(), std::nullopt);
    const Reports::Place second(reports);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(one_more(), Code::Overloaded);
    EXPECT_EQ(refusal([&] { reports.statistics([] { return std::string("never"); }); }), Code::Overloaded);
  }
  EXPECT_EQ(one_more(), std::nullopt);
}

TEST(Reports, StatisticsAreMadeByOneAndKept) {
  Reports reports;
  std::promise<void> begun;
  std::promise<void> go_on;
  auto made = std::async(std::launch::async, [&] {
    return *reports.statistics([&] {
      begun.set_value();
      go_on.get_future().wait();
      return std::string("counted");
    });
  });
  begun.get_future().wait();
  EXPECT_EQ(reports.freshStatistics(), nullptr);
  EXPECT_EQ(refusal([&] { reports.statistics([] { return std::string("at the same time"); }); }), Code::Overloaded);
  go_on.set_value();
  EXPECT_EQ(made.get(), "counted");
  EXPECT_EQ(*reports.freshStatistics(), "counted");
  EXPECT_EQ(*reports.statistics([] { return std::string("again"); }), "counted");
}

TEST(Reports, AFailureIsNotKept) {
  Reports reports;
  const auto failing = []() -> std::string { throw Error(Code::Unreachable, "away"); };
  EXPECT_EQ(refusal([&] { reports.statistics(failing); }), Code::Unreachable);
  EXPECT_EQ(*reports.statistics([] { return std::string("back"); }), "back");
}

}  // namespace
}  // namespace aragora::api
