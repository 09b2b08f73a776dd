// What is told and when, without anybody who listens.
#include <gtest/gtest.h>

#include "common/base/ids.h"
#include "common/base/redact.h"
#include "common/base/scratch.h"
#include "common/net/smtp.h"
#include "common/notify/kept.h"
#include "common/notify/told.h"

namespace aragora::notify {
namespace {

using std::chrono::hours;

Problem late(std::size_t weight = 1) { return {"recovery:backups", Kind::Recovery, "late", {"see"}, weight}; }

TEST(Told, IsNewThenSilentThenAReminderAndNewAgainWhenWorse) {
  const TemporaryDirectory place;
  const Told told(place.path() / "state" / "notify");
  const Micros now = nowMicros();
  EXPECT_EQ(told.due(late(), hours(24), now), State::Problem);
  told.note(late(), true, "", now);
  EXPECT_EQ(told.due(late(), hours(24), now + 1), std::nullopt);
  EXPECT_EQ(told.due(late(2), hours(24), now + 1), State::Problem);
  EXPECT_EQ(told.due(late(), hours(24), now + 24 * 3'600'000'000LL), State::Reminder);
  EXPECT_EQ(told.due(late(), hours(24), now - 3'600'000'000LL), State::Reminder) << "the clock was set back";
  EXPECT_EQ(Told(place.path() / "state" / "notify").find("recovery:backups")->since, now) << "it is on the disk";
  told.forget("recovery:backups");
  EXPECT_EQ(told.due(late(), hours(24), now), State::Problem);
}

TEST(Told, WhatNobodyWasToldOfIsDueAndItsRunHasNotSpoken) {
  const TemporaryDirectory place;
  const Told told(place.path());
  told.note(late(), false, "run-1", 1);
  EXPECT_EQ(told.due(late(), hours(24), 2), State::Problem);
  EXPECT_FALSE(told.knowsRun("run-1"));
  told.note(late(), true, "run-2", 3);
  EXPECT_TRUE(told.knowsRun("run-2"));
  EXPECT_FALSE(told.knowsRun(""));
}

TEST(Told, AFileThatIsNoneIsToldAnew) {
  const TemporaryDirectory place;
  for (const auto* text : {"", "{", "[]", "{\"problems\": 7}", "{\"problems\": [1, {}, {\"kind\": \"nothing\"}]}"}) {
    writeFileAtomically(place.path() / "told.json", text);
    EXPECT_TRUE(Told(place.path()).all().empty()) << text;
  }
}

TEST(Event, ComesBackAsItWasWrittenWithoutSecrets) {
  const auto event =
      makeEvent(State::Problem, {"k", Kind::Backup, "password=hunter2hunter2 failed\x1b[31m", {"a", "b"}});
  EXPECT_EQ(event.what.summary.find("hunter2"), std::string::npos);
  EXPECT_EQ(event.what.summary.find('\x1b'), std::string::npos);
  const auto back = fromDocument(toDocument(event, {"host", "production", ""}));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->id, event.id);
  EXPECT_EQ(back->state, event.state);
  EXPECT_EQ(back->what.kind, event.what.kind);
  EXPECT_EQ(back->what.details, event.what.details);
  EXPECT_FALSE(fromDocument({{"id", "x"}, {"state", "problem"}, {"kind", "backup"}}));
}

TEST(Event, EveryKindHasANameThatIsReadBack) {
  for (int i = 0; i <= static_cast<int>(Kind::Audit); ++i) {
    const auto kind = static_cast<Kind>(i);
    EXPECT_EQ(parseKind(name(kind)), kind);
    EXPECT_FALSE(title(kind).empty());
  }
}

TEST(Kept, IsBoundedAndTheOldestGoes) {
  const TemporaryDirectory place;
  const Kept kept(place.path() / "notify" / "kept");
  std::string first;
  for (int i = 0; i < 203; ++i) {
    auto event = makeEvent(State::Problem, late());
    if (i == 0) first = event.id;
    kept.keep(Channel::Webhook, event, {}, "away");
    if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // its id comes before the others
  }
  const auto all = kept.all();
  EXPECT_EQ(all.size(), 200U);
  EXPECT_NE(all.front().event.id, first);
  kept.postpone(all.front(), {}, "still away");
  EXPECT_GT(kept.all().front().next_at, all.front().next_at);
  auto old = all.front();
  old.event.at -= 8LL * 24 * 3'600'000'000LL;
  kept.postpone(old, {}, "still away");
  EXPECT_EQ(kept.all().size(), 199U);
}

TEST(Mail, AddressesAreOnesThatNeitherAHeaderNorTheDialogueMinds) {
  for (const auto* good : {"ada@example.org", "a.b+c@localhost"}) EXPECT_TRUE(net::isMailAddress(good)) << good;
  for (const auto* bad : {"", "ada", "@x", "ada@", "Ada <ada@x>", "a@b\r\nRCPT TO:<x@y>", "a b@c", "a@b>,c@d"})
    EXPECT_FALSE(net::isMailAddress(bad)) << bad;
}

}  // namespace
}  // namespace aragora::notify
