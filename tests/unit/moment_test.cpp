// Moments: the table of what is read, what is refused, and that whatever is written is read again as the same.
#include "common/base/moment.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <random>

#include "common/base/error.h"

namespace aragora {
namespace {

constexpr Micros kAt = 1'795'646'819'000'000;  // 2026-11-25T22:46:59Z

class InZone {
 public:
  explicit InZone(const char* zone) {
    ::setenv("TZ", zone, 1);
    ::tzset();
  }
  ~InZone() {
    ::unsetenv("TZ");
    ::tzset();
  }
};

TEST(Moment, ReadsOneMomentHoweverItIsWritten) {
  for (const auto* text : {"2026-11-25T22:46:59Z",
                           "2026-11-25t22:46:59z",
                           "2026-11-25 22:46:59Z",
                           "2026-11-26T04:16:59+05:30",
                           "2026-11-26T04:16:59+0530",
                           "2026-11-26 04:16:59+05:30",
                           "2026-11-26T04:31:59+05:45",
                           "2026-11-25T19:16:59-03:30",
                           "2026-11-25T22:46:59-00:00",
                           "2026-11-25T22:46:59+00:00",
                           "2026-11-25T22:46:59.000Z",
                           "2026-11-25T22:46:59,000000000+00:00",
                           "2026-11-26T22:45:59+23:59",
                           "Thu, 26 Nov 2026 04:16:59 +0530",
                           "Wed, 25 Nov 2026 22:46:59 -0000",
                           "Wed Nov 25 22:46:59 UTC 2026",
                           "Wed Nov 25 22:46:59 GMT 2026",
                           "Wed Nov 25 10:46:59 PM UTC 2026",
                           "Thu Nov 26 04:31:59 +0545 2026",
                           "Thu Nov 26 02:46:59 +04 2026"})
    EXPECT_EQ(parseMoment(text), kAt) << text;
  EXPECT_EQ(parseMoment("2026-11-25T22:46Z"), kAt - 59'000'000) << "date -Iminutes";
  EXPECT_EQ(parseMoment("2026-11-25T22+00:00"), kAt - (46 * 60 + 59) * 1'000'000LL) << "date -Ihours";
  EXPECT_EQ(parseMoment("Thu Nov  5 00:00:00 UTC 2026"), parseMoment("2026-11-05T00:00:00Z"));
  EXPECT_EQ(parseMoment("Thu Nov  5 12:00:00 AM UTC 2026"), parseMoment("2026-11-05T00:00:00Z"));
  EXPECT_EQ(parseMoment("2024-02-29T00:00:00Z"), 1'709'164'800'000'000);
  EXPECT_EQ(parseMoment("1969-12-31T23:59:59.25Z"), -750'000);
}

TEST(Moment, KeepsMicrosecondsAndIsNeverLaterThanSaid) {
  EXPECT_EQ(parseMoment("2026-11-25T22:46:59.1Z"), kAt + 100'000);
  EXPECT_EQ(parseMoment("2026-11-25T22:46:59.123456Z"), kAt + 123'456);
  EXPECT_EQ(parseMoment("2026-11-25T22:46:59.123456999Z"), kAt + 123'456);
  EXPECT_EQ(parseMoment("2026-11-25T22:46:59." + std::string(60, '9') + "Z"), kAt + 999'999);
}

TEST(Moment, LeapSecondsWhereThereCanBeOne) {
  EXPECT_EQ(parseMoment("2016-12-31T23:59:60Z"), parseMoment("2017-01-01T00:00:00Z"));
  EXPECT_EQ(parseMoment("1990-12-31T15:59:60-08:00"), parseMoment("1991-01-01T00:00:00Z"));
  for (const auto* text : {"2016-12-31T22:59:60Z", "2016-12-30T23:59:60Z", "2016-12-31T23:59:60+01:00",
                           "2026-11-25T22:46:60Z", "2016-12-31T23:59:61Z"})
    EXPECT_FALSE(parseMoment(text)) << text;
}

TEST(Moment, NothingElse) {
  for (const auto* text : {"",
                           " ",
                           "yesterday",
                           "now",
                           "0",
                           "1795646819",
                           "@1795646819",
                           "2026-11-26",
                           "2026-11-26T04:16:59",
                           "2026-11-26 04:16:59",
                           "04:16:59Z",
                           "2026-02-30T00:00:00Z",
                           "2026-02-29T00:00:00Z",
                           "2026-04-31T00:00:00Z",
                           "2026-00-01T00:00:00Z",
                           "2026-13-01T00:00:00Z",
                           "2026-01-00T00:00:00Z",
                           "2026-01-32T00:00:00Z",
                           "2026-1-1T00:00:00Z",
                           "2026-01-01T24:00:00Z",
                           "2026-01-01T00:60:00Z",
                           "2026-01-01T00:00:0Z",
                           "2026-01-01T00:00:00.Z",
                           "2026-01-01T00:00:00+24:00",
                           "2026-01-01T00:00:00+05:60",
                           "2026-01-01T00:00:00+5:30",
                           "2026-01-01T00:00:00+05",
                           "2026-01-01T00:00:00+05:3",
                           "2026-01-01T00:00:00+05:300",
                           "2026-01-01T00:00:00Zulu",
                           "2026-01-01T00:00:00 Z",
                           "2026-01-01T00:00:00Z ",
                           " 2026-01-01T00:00:00Z",
                           "2026-01-01T00:00:00 UTC",
                           "2026-01-01  00:00:00Z",
                           "+2026-01-01T00:00:00Z",
                           "12026-01-01T00:00:00Z",
                           "26-01-01T00:00:00Z",
                           "2026/01/01T00:00:00Z",
                           "20260101T000000Z",
                           "Wed, 26 Nov 2026 04:16:59 +0530",
                           "Thu, 26 Nov 2026 04:16:59",
                           "Thu, 31 Feb 2026 04:16:59 +0000",
                           "Tue Nov 25 22:46:59 UTC 2026",
                           "Wed Nov 25 22:46:59 2026",
                           "Wed Nov 25 13:46:59 PM UTC 2026",
                           "Wed Nov 25 22:46:59 XYZ 2026",
                           "Wed nov 25 22:46:59 UTC 2026"})
    EXPECT_FALSE(parseMoment(text)) << text;
  EXPECT_FALSE(parseMoment(std::string_view("2026-01-01T00:00:00Z\0", 21)));
}

TEST(Moment, NamesOfZonesAreThisMachines) {
  {
    const InZone zone("Asia/Kolkata");
    EXPECT_EQ(parseMoment("Thu Nov 26 04:16:59 IST 2026"), kAt);
    EXPECT_FALSE(parseMoment("Thu Nov 26 04:16:59 CET 2026"));
    EXPECT_NE(describeMoment(kAt).find("here 2026-11-26 04:16:59 IST, +0530"), std::string::npos)
        << describeMoment(kAt);
  }
  const InZone zone("Europe/Berlin");
  EXPECT_EQ(parseMoment("Wed Nov 25 23:46:59 CET 2026"), kAt);
  EXPECT_FALSE(parseMoment("Wed Nov 25 23:46:59 CEST 2026")) << "not in winter";
  EXPECT_FALSE(parseMoment("Thu Nov 26 04:16:59 IST 2026"));
  // The hour that comes twice.
  EXPECT_EQ(parseMoment("Sun Oct 25 02:30:00 CEST 2026"), parseMoment("2026-10-25T00:30:00Z"));
  EXPECT_EQ(parseMoment("Sun Oct 25 02:30:00 CET 2026"), parseMoment("2026-10-25T01:30:00Z"));
  EXPECT_FALSE(parseMoment("Sun Mar 29 02:30:00 CET 2026")) << "and the one that never comes";
}

TEST(Moment, WhatIsWrittenIsReadAgain) {
  std::mt19937_64 random(7);
  std::uniform_int_distribution<Micros> anyMoment(-2'000'000'000'000'000, 200'000'000'000'000'000);
  std::uniform_int_distribution<int> anyOffset(-(23 * 60 + 59), 23 * 60 + 59);
  for (int i = 0; i < 20'000; ++i) {
    const auto at = anyMoment(random);
    const auto minutes = anyOffset(random);
    const auto size = std::abs(minutes);
    const auto shifted = toExactIso(at + minutes * 60'000'000LL);
    for (const auto* colon : {":", ""}) {
      const auto text = fmt::format("{}{}{:02}{}{:02}", shifted.substr(0, shifted.size() - 1), minutes < 0 ? '-' : '+',
                                    size / 60, colon, size % 60);
      ASSERT_EQ(parseMoment(text), at) << text;
    }
  }
}

TEST(Moment, TheRefusalSaysWhatCanBeWritten) {
  try {
    requireMoment("--target-time", "2026-02-30T00:00:00Z");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::Usage);
    EXPECT_NE(std::string(error.what()).find("2026-02-30"), std::string::npos);
    EXPECT_NE(error.hint().find("RFC 3339"), std::string::npos);
  }
  EXPECT_EQ(parseDay("2026-01-13"), parseMoment("2026-01-13T00:00:00Z"));
  for (const auto* text : {"2026-02-30", "2026-1-13", "2026-01-13T00:00:00Z", "13.1.2026"})
    EXPECT_FALSE(parseDay(text)) << text;
}

}  // namespace
}  // namespace aragora
