#include <gtest/gtest.h>

#include "common/net/header_lines.h"

namespace aragora::net {
namespace {

TEST(HeaderLines, AreNamesAndValues) {
  using Fields = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(parseHeaderLines("").fields, Fields{});
  const auto lines = parseHeaderLines("X-One: 1\r\n\n  x_two :  a: b \nX-Empty:\n");
  EXPECT_EQ(lines.fields, (Fields{{"X-One", "1"}, {"x_two", "a: b"}, {"X-Empty", ""}}));
  EXPECT_EQ(lines.problem, "");
}

TEST(HeaderLines, AreRefusedWithTheirNumberAndWithoutTheirValue) {
  for (const auto* text :
       {"A: 1\nno colon hunter2", "A: 1\nA b: hunter2", "A: 1\n: hunter2", "A: 1\nB: hunter2\x01",
        "A: 1\nHOST: hunter2", "A: 1\ncontent-length: hunter2", "A: 1\nTransfer-Encoding: hunter2"}) {
    const auto problem = parseHeaderLines(text).problem;
    EXPECT_EQ(problem.substr(0, 6), "line 2") << text;
    EXPECT_EQ(problem.find("hunter2"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace aragora::net
