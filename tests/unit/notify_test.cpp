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
  EXPECT_EQ(told.ofRun("run-1")->told_at, 0);
  told.note(late(), true, "run-2", 3);
  EXPECT_EQ(told.ofRun("run-2")->told_at, 3);
  EXPECT_FALSE(told.ofRun(""));
  told.heard("recovery:backups", 4);
  EXPECT_EQ(told.find("recovery:backups")->told_at, 4);
  told.heard("another", 4);
  EXPECT_FALSE(told.find("another"));
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
  for (int i = 0; i <= static_cast<int>(Kind::Budget); ++i) {
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

TEST(Kept, StaysInOrderWhateverTheClockSays) {
  const TemporaryDirectory place;
  const Kept kept(place.path() / "notify" / "kept");
  const auto at = [&](Micros moment, const char* what) {
    auto event = makeEvent(State::Problem, {"k", Kind::Backup, what});
    event.at = moment;
    kept.keep(Channel::Webhook, event, {}, "away");
  };
  const Micros now = nowMicros();
  at(now, "first");
  at(now - 3'600'000'000LL, "second");  // the clock was set back
  at(now + 1, "third");
  std::vector<std::string> order;
  for (const auto& one : kept.all()) order.push_back(one.event.what.summary);
  EXPECT_EQ(order, (std::vector<std::string>{"first", "second", "third"}));
  auto one = kept.all().front();
  EXPECT_FALSE(isDue(one, now));
  EXPECT_TRUE(isDue(one, one.next_at));
  EXPECT_TRUE(isDue(one, one.next_at - 24 * 3'600'000'000LL)) << "by a clock that was a day ahead";
  EXPECT_TRUE(kept.holds(Channel::Webhook, "k"));
  EXPECT_FALSE(kept.holds(Channel::Email, "k"));
}

TEST(Kept, AMailThatWasHandedOverTwiceIsGivenUpAWebhookIsNot) {
  const TemporaryDirectory place;
  const Kept kept(place.path() / "notify" / "kept");
  for (const auto channel : {Channel::Webhook, Channel::Email}) {
    kept.keep(channel, makeEvent(State::Problem, late()), {}, "no answer", true);
    auto all = kept.of(channel);
    ASSERT_EQ(all.size(), 1U);
    kept.postpone(all.front(), {}, "refused", false);  // it was not handed over
    all = kept.of(channel);
    ASSERT_EQ(all.size(), 1U);
    kept.postpone(all.front(), {}, "no answer", true);
    EXPECT_EQ(kept.of(channel).empty(), channel == Channel::Email);
  }
}

TEST(Mail, AddressesAreOnesThatNeitherAHeaderNorTheDialogueMinds) {
  for (const auto* good : {"ada@example.org", "a.b+c@localhost"}) EXPECT_TRUE(net::isMailAddress(good)) << good;
  for (const auto* bad : {"", "ada", "@x", "ada@", "Ada <ada@x>", "a@b\r\nRCPT TO:<x@y>", "a b@c", "a@b>,c@d"})
    EXPECT_FALSE(net::isMailAddress(bad)) << bad;
}

}  // namespace
}  // namespace aragora::notify
