#include "common/base/money.h"

#include <gtest/gtest.h>

namespace aragora {
namespace {

TEST(Money, ReadsDecimalsExactly) {
  EXPECT_EQ(parseUsd("0.016476"), 16'476'000'000);
  EXPECT_EQ(parseUsd("6.075"), 6'075'000'000'000);
  EXPECT_EQ(parseUsd("0"), 0);
  EXPECT_EQ(parseUsd("0.000000000001"), 1);
  EXPECT_EQ(parseUsd("9223372.036854775807"), INT64_MAX);
}

TEST(Money, RefusesWhatIsNoAmount) {
  for (const auto* text : {"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1 ", "0x1", "0.0000000000001", "NaN",
                           "9223372.036854775808", "99999999999999999999"})
    EXPECT_FALSE(parseUsd(text)) << text;
}

TEST(Money, WritesWhatItReads) {
  for (const auto* text : {"0", "1", "0.016476", "6.075", "100", "0.000000000001", "9223372.036854775807"})
    EXPECT_EQ(toUsd(parseUsd(text).value()), text);
  EXPECT_EQ(toUsd(-1'500'000'000'000), "-1.5");
  EXPECT_EQ(toUsd(INT64_MIN), "-9223372.036854775808");
}

TEST(Money, ShowsDollarsAndCentsToPeople) {
  EXPECT_EQ(shownUsd(0), "$0.00");
  EXPECT_EQ(shownUsd(2'000'000'000'000), "$2.00");
  EXPECT_EQ(shownUsd(6'075'000'000'000), "$6.07");
  EXPECT_EQ(shownUsd(500'000'000'000), "$0.50");
  EXPECT_EQ(shownUsd(16'476), "$0.000000016476");
}

}  // namespace
}  // namespace aragora
