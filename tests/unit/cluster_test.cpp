// What instances tell each other, and what a follower makes of it.
#include <gtest/gtest.h>

#include "common/base/text.h"
#include "daemon/cluster/hint.h"

namespace aragora {
namespace {

using cluster::Hint;
using cluster::HintKind;

TEST(Hint, ComesBackAsItWasTold) {
  for (const auto& hint : {Hint{HintKind::Event, "01JD0000000000000000000000", 17, 0}, Hint{HintKind::Lists, "", 0, 9},
                           Hint{HintKind::Cancel, "01JD0000000000000000000000", 0, 0}, Hint{HintKind::Minded, "", 0, 9},
                           Hint{HintKind::Breaker, "anthropic:open", 60'000, 0}}) {
    const auto heard = cluster::parse(cluster::encode(hint, "host:12:ab34"));
    ASSERT_TRUE(heard.has_value());
    EXPECT_EQ(heard->instance, "host:12:ab34");
    EXPECT_EQ(heard->hint.kind, hint.kind);
    EXPECT_EQ(heard->hint.debate_id, hint.debate_id);
    EXPECT_EQ(heard->hint.seq, hint.seq);
    EXPECT_EQ(heard->hint.ticket, hint.ticket);
  }
}

TEST(Hint, WhatIsNoneIsIgnored) {
  for (const std::string bad :
       {"", "1", "2 a event X 1 0", "1 a event X 1", "1 a event X 1 0 2", "1 a event - 1 0", "1 a other X 1 0",
        "1 a event X -1 0", "1 a event X one 0", "1  event X 1 0", "1 a cancel - 0 0", "1 a breaker - 5 0",
        "1 a lists - 0 -1", "1 a event X 99999999999999999999 0"})
    EXPECT_FALSE(cluster::parse(bad)) << bad;
  EXPECT_FALSE(cluster::parse("1 a event " + std::string(2000, 'x') + " 1 0"));
  EXPECT_TRUE(cluster::parse("1 a lists - 0 0"));
}

}  // namespace
}  // namespace aragora
