#include "common/base/log.h"

#include <gtest/gtest.h>

#include <thread>

#include "common/base/json.h"
#include "common/base/log_line.h"

namespace aragora::log {

TEST(LogScope, IsOfTheThreadAndOfTheInnermost) {
  EXPECT_EQ(about().request_id, "");
  const Scope outer({"one", ""});
  {
    const Scope inner({"two", "debate"});
    setRequest("three");
    EXPECT_EQ(about().request_id, "three");
    EXPECT_EQ(about().debate_id, "debate");
    std::jthread([] { EXPECT_EQ(about().request_id, ""); }).join();
  }
  EXPECT_EQ(about().request_id, "one");
}

TEST(LogLine, SaysOfWhatItIsUnlessItsTextDoes) {
  const About of{"r-1", "d-1"};
  EXPECT_NE(asText({Level::Info, Event::None, "it went", {}, of}).find("info    it went debate=d-1 request=r-1\n"),
            std::string::npos);
  EXPECT_EQ(withPriority({Level::Error, Event::None, "request r-1: no", {}, of}), "<3>request r-1: no debate=d-1\n");
}

TEST(LogLine, HasNumbersAsNumbersInJson) {
  const About of{"r-1", ""};
  const Field fields[] = {{"status", std::int64_t{200}}, {"seconds", 0.5}, {"route", std::string_view("/ws")}};
  const auto object = parseJson(asJson({Level::Warning, Event::Access, "x", fields, of}), "a line").as_object();
  EXPECT_EQ(object.at("status").as_int64(), 200);
  EXPECT_EQ(object.at("seconds").as_double(), 0.5);
  EXPECT_EQ(object.at("route").as_string(), "/ws");
  EXPECT_EQ(object.at("event").as_string(), "access");
  EXPECT_EQ(object.at("request_id").as_string(), "r-1");
}

TEST(LogLine, HasAFieldALineForTheJournal) {
  const About of{"r-1", "d-1"};
  const Field fields[] = {{"status", std::int64_t{200}}};
  EXPECT_EQ(forJournal({Level::Warning, Event::Started, "up", fields, of}),
            "MESSAGE=up\nPRIORITY=4\nSYSLOG_IDENTIFIER=aragora\nMESSAGE_ID=ccf3935c5eb0087bc512400ae925773f\n"
            "ARAGORA_EVENT=started\nARAGORA_REQUEST_ID=r-1\nARAGORA_DEBATE_ID=d-1\nARAGORA_STATUS=200\n");
}

}  // namespace aragora::log
