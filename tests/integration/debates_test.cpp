// Leases, epochs, chains and the engine, on both engines of databases.
#include <gtest/gtest.h>

#include <future>

#include "common/audit/audit.h"
#include "common/crypto/hash.h"
#include "common/migrate/migrator.h"
#include "common/store/event_chain.h"
#include "common/verify/verify.h"
#include "daemon/debate/old_chains.h"
#include "daemon/debate/service.h"
#include "tests/integration/services.h"

namespace aragora::debate {
namespace {

using database::Connection;
using database::Engine;
using namespace std::chrono_literals;

class Debates : public testing::TestWithParam<Engine> {
 protected:
  TestDatabase test_{GetParam()};
  Secret key_{toHex(crypto::randomBytes(32))};
  crypto::Keyring keyring_{key_};
  std::unique_ptr<database::Database> database_ =
      (migrate::Migrator(test_.target()).up(), database::openDatabase(test_.target()));
  store::Debates debates_{*database_, keyring_};
  store::Leases here_{*database_, "here"};
  store::Leases there_{*database_, "there"};

  std::string create(const std::string& owner = "", const std::vector<std::string>& agents = {"demo-a", "demo-b"}) {
    store::Debate debate;
    debate.id = newUlid();
    debate.task = "a task";
    debate.agents = agents;
    debate.consensus_kind = "majority";
    debate.owner = owner;
    debate.created_at = nowMicros();
    debates_.create(debate);
    return debate.id;
  }
  void sql(const std::string& text, const database::Values& values = {}) {
    database_->write([&](Connection& connection) { connection.query(text, values); });
  }
  database::Rows rows(const std::string& text, const database::Values& values = {}) {
    return database_->reading([&](Connection& connection) { return connection.query(text, values); });
  }
  void expire(const std::string& id) { sql("UPDATE debate_leases SET expires_at = 1 WHERE debate_id = $1", {id}); }

  // "events" when its step failed, "" when all is well.
  std::string verified(const crypto::Keyring* keyring) {
    verify::Options how;
    how.keyring = keyring;
    for (const auto& finding : verify::verifyDatabase(test_.target(), how).findings) {
      if (finding.outcome == verify::Outcome::Failed) return finding.id;
      if (finding.outcome == verify::Outcome::NotVerified && finding.id == "events") return "not verified";
    }
    return "";
  }
};

TEST_P(Debates, ALeaseIsHeldByOneAndTakenOverWhenItRunsOut) {
  const auto id = create();
  const auto first = here_.acquire(id, 30s);
  ASSERT_TRUE(first);
  EXPECT_FALSE(there_.acquire(id, 30s));
  expire(id);
  const auto second = there_.acquire(id, 30s);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->epoch, first->epoch + 1);
  EXPECT_THROW(debates_.append(*first, {{0, "", store::RoundEnded{}}}), Error);
  store::Call call;
  call.id = newUlid();
  call.debate_id = id;
  call.seat = "demo-a";
  EXPECT_THROW(debates_.recordIntent(*first, call), Error);
  debates_.recordIntent(*second, call);
  EXPECT_EQ(debates_.append(*second, {{0, "", store::RoundEnded{}}}).at(0).seq, 2);
  here_.release(*first);
  EXPECT_FALSE(here_.acquire(id, 30s)) << "a stale owner released the lease of another";
  there_.release(*second);
  EXPECT_TRUE(here_.acquire(id, 30s));
}

TEST_P(Debates, AllLeasesOfAnInstanceAreRenewedAtOnce) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(create());
    here_.acquire(ids.back(), 30s);
  }
  const auto foreign = create();
  there_.acquire(foreign, 30s);
  const auto released = here_.acquire(create(), 30s);
  here_.release(*released);
  database_->write([&](Connection& connection) { store::Debates::requestCancel(connection, ids[2]); });
  auto asked = ids;
  asked.insert(asked.end(), {foreign, released->debate_id});
  const auto stray = create();  // of ours, and nobody knows of it
  here_.acquire(stray, 100ms);
  const auto renewed = here_.renew(asked, 60s);
  EXPECT_EQ(renewed.size(), 5U) << "a released lease or another instance's was renewed";
  std::this_thread::sleep_for(150ms);
  EXPECT_TRUE(there_.acquire(stray, 1s)) << "a lease that nobody runs was renewed";
  for (const auto& lease : renewed) EXPECT_EQ(lease.cancel_requested, lease.debate_id == ids[2]);
  here_.releaseAll();
  EXPECT_TRUE(here_.renew(asked, 60s).empty());
  EXPECT_TRUE(there_.acquire(ids[0], 1s));
  EXPECT_FALSE(here_.acquire(foreign, 1s));
}

TEST_P(Debates, NobodyTakesADebateOverWhileItsOwnerWrites) {
  const auto id = create();
  const auto lease = *here_.acquire(id, 30s);
  expire(id);
  const auto other = database::openDatabase(test_.target());
  store::Leases others(*other, "other");
  std::promise<void> checked;
  std::atomic<bool> written{false};
  const std::jthread owner([&] {
    database_->write([&](Connection& connection) {
      store::requireHeld(connection, lease);
      checked.set_value();
      std::this_thread::sleep_for(300ms);  // the epoch was looked at; the write is still to come
      connection.query("UPDATE debates SET rounds_used = 7 WHERE id = $1", {id});
    });
    written = true;
  });
  checked.get_future().wait();
  const auto taken = others.acquire(id, 30s);
  ASSERT_TRUE(taken);
  EXPECT_EQ(other->reading([&](Connection& connection) {
    return connection.query("SELECT rounds_used FROM debates WHERE id = $1", {id})[0].integer(0);
  }),
            7)
      << "the stale owner could still write after the takeover";
}

TEST_P(Debates, ManyWritersAndTakeoversLeaveOneUnbrokenChain) {
  const auto id = create();
  const auto other = database::openDatabase(test_.target());
  store::Debates others(*other, keyring_);
  const auto fight = [&](store::Debates& debates, database::Database& database, const std::string& name) {
    store::Leases leases(database, name);
    for (int i = 0; i < 40; ++i) {
      try {
        if (const auto lease = leases.acquire(id, 1ms)) {
          debates.append(*lease, {{0, name, store::RoundEnded{}}, {0, name, store::RoundEnded{}}});
          std::this_thread::sleep_for(2ms);
          debates.append(*lease, {{0, name, store::RoundEnded{}}});
        }
      } catch (const Error& error) {
        EXPECT_TRUE(error.code() == Code::Conflict || error.code() == Code::Busy) << error.what();
      }
    }
  };
  {
    const std::jthread a([&] { fight(debates_, *database_, "a"); });
    const std::jthread b([&] { fight(others, *other, "b"); });
  }
  const auto events = debates_.events(id, 0, 1000);
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i].seq, static_cast<std::int64_t>(i) + 1);
  EXPECT_GT(events.size(), 40U);
  EXPECT_EQ(verified(&keyring_), "");
}

// Whoever speaks from outside has no lease, and takes no event's place.
TEST_P(Debates, TheAudienceSpeaksWhileOthersWrite) {
  const auto id = create();
  const auto lease = here_.acquire(id, 30s);
  std::set<std::int64_t> said;
  {
    const std::jthread audience([&] {
      for (int i = 0; i < 60; ++i)
        database_->write([&](Connection& connection) {
          said.insert(debates_.addMessage(connection, id, {"api:user:1", fmt::format("message {}", i)}).seq);
        });
    });
    for (int i = 0; i < 60; ++i)
      debates_.append(*lease, {{0, "demo-a", store::RoundEnded{}}, {0, "", store::RoundEnded{}}});
  }
  const auto events = debates_.events(id, 0, 1000);
  ASSERT_EQ(events.size(), 181U);
  for (const auto& event : events)
    EXPECT_EQ(std::holds_alternative<store::AudienceMessage>(event.body), said.count(event.seq) == 1) << event.seq;
  EXPECT_EQ(verified(&keyring_), "");
}

TEST_P(Debates, WhoeverHasFewestRunningComesFirst) {
  std::vector<std::string> busy;
  for (int i = 0; i < 20; ++i) busy.push_back(create("busy"));
  const auto nobodys = create();
  const auto modest = create("modest");
  auto waiting = here_.waiting(3);
  EXPECT_EQ(waiting, (std::vector<std::string>{busy[0], nobodys, modest}));
  for (int i = 0; i < 5; ++i) here_.acquire(busy[static_cast<std::size_t>(i)], 30s);
  const auto second = create("modest");
  waiting = here_.waiting(4);
  EXPECT_EQ(waiting, (std::vector<std::string>{nobodys, modest, second, busy[5]}));
  EXPECT_EQ(here_.waiting(100).size(), 18U);
}

TEST_P(Debates, AfterAFailureNobodyTakesItForAWhile) {
  const auto id = create();
  here_.releaseAfterFailure(*here_.acquire(id, 30s), 10min);
  EXPECT_TRUE(there_.waiting(10).empty());
  EXPECT_FALSE(there_.acquire(id, 30s));
  EXPECT_FALSE(here_.acquire(id, 30s));
  sql("UPDATE debate_leases SET not_before = 0");
  EXPECT_EQ(there_.waiting(10).size(), 1U);
  EXPECT_EQ(there_.acquire(id, 30s)->failures, 1);
}

// The chain of one debate made anew by somebody who may write to the database and has no key.
void forge(Connection& connection, const std::string& id, const std::function<void(store::ChainedEvent&)>& change) {
  auto previous = store::chainStart();
  for (const auto& row : connection.query(
           fmt::format("SELECT {} FROM debate_events WHERE debate_id = $1 ORDER BY seq", store::kChainedColumns),
           {id})) {
    auto event = store::toChained(row);
    change(event);
    event.prev_hash = previous;
    previous = event.hash =
        event.key_id.empty() ? store::eventHash(event, {}) : store::eventHash(event, std::string(32, 'k'));
    connection.query(
        "UPDATE debate_events SET payload = $3, prev_hash = $4, key_id = $5, hash = $6 WHERE debate_id = $1 AND seq = "
        "$2",
        {id, event.seq, event.payload, event.prev_hash, event.key_id, event.hash});
  }
}

void asTheFirstVersion(store::ChainedEvent& event) { event.key_id.clear(); }

TEST_P(Debates, ForgedMessagesAreFound) {
  const auto id = create();
  const auto lease = *here_.acquire(id, 30s);
  debates_.append(lease,
                  {{0, "demo-a", store::AgentMessage{store::Role::Proposer, "true"}}, {0, "", store::RoundEnded{}}});
  sealOldChains(*database_, keyring_);
  EXPECT_EQ(verified(&keyring_), "");
  const auto lie = [](store::ChainedEvent& event) { event.payload = replaceAll(event.payload, "true", "forged"); };
  for (const bool keep_key : {true, false}) {
    database_->write([&](Connection& connection) {
      forge(connection, id, [&](store::ChainedEvent& event) {
        lie(event);
        if (!keep_key) asTheFirstVersion(event);
      });
    });
    EXPECT_EQ(verified(&keyring_), "events") << keep_key;
  }
}

TEST_P(Debates, AnEventWithoutAKeyDoesNotFollowOneThatHasOne) {
  const auto id = create();
  const auto lease = *here_.acquire(id, 30s);
  debates_.append(lease, {{0, "", store::RoundEnded{}}});
  database_->write([&](Connection& connection) {
    auto last = store::toChained(connection.query(
        fmt::format("SELECT {} FROM debate_events WHERE debate_id = $1 AND seq = 2", store::kChainedColumns), {id})[0]);
    last.key_id.clear();
    connection.query("UPDATE debate_events SET key_id = '', hash = $2 WHERE debate_id = $1 AND seq = 2",
                     {id, store::eventHash(last, {})});
  });
  EXPECT_EQ(verified(&keyring_), "events");
}

TEST_P(Debates, OldChainsStayReadableAndAreSealedOnce) {
  const auto old = create();
  const auto running = create();
  for (const auto& id : {old, running})
    database_->write([&](Connection& connection) { forge(connection, id, asTheFirstVersion); });
  EXPECT_EQ(verified(&keyring_), "") << "before the seal";
  EXPECT_EQ(verified(nullptr), "") << "a chain without a key needs none";
  sealOldChains(*database_, keyring_);
  EXPECT_EQ(verified(&keyring_), "");
  // What was running goes on under the key.
  debates_.append(*here_.acquire(running, 30s), {{0, "", store::RoundEnded{}}});
  EXPECT_EQ(debates_.events(running, 0, 10).size(), 2U);
  EXPECT_EQ(verified(&keyring_), "");
  database_->read([&](Connection& connection) { EXPECT_EQ(audit::verifyChain(connection, keyring_).entries, 1); });
  database_->write([&](Connection& connection) {
    forge(connection, old,
          [](store::ChainedEvent& event) { event.payload = replaceAll(event.payload, "a task", "x"); });
  });
  EXPECT_EQ(verified(&keyring_), "events") << "made anew after the seal";
  sql("UPDATE debates SET chain_seal = NULL");
  sql("DELETE FROM settings WHERE name = $1", {std::string(store::kChainsSealed)});
  EXPECT_EQ(verified(&keyring_), "events") << "the audit log knows that they were sealed";
}

TEST_P(Debates, ChainsOutliveTheRotationOfTheKey) {
  const auto id = create();
  debates_.append(*here_.acquire(id, 30s), {{0, "", store::RoundEnded{}}});
  const Secret fresh(toHex(crypto::randomBytes(32)));
  const crypto::Keyring rotated(fresh, {key_});
  store::Debates later(*database_, rotated);
  later.append(*here_.acquire(id, 30s), {{1, "", store::RoundEnded{}}});
  EXPECT_EQ(verified(&rotated), "");
  const crypto::Keyring forgotten(fresh);
  EXPECT_EQ(verified(&forgotten), "not verified");
  sql("UPDATE debate_events SET agent = 'x' WHERE seq = 3");
  EXPECT_EQ(verified(&rotated), "events");
}

// The engine with the built-in provider.
class RunningDebates : public Debates {
 protected:
  providers::Providers providers_{{}};
  metrics::Registry metrics_;
  std::function<void(const store::Event&)> publish_ = [](const store::Event&) {};

  RunServices services(store::Leases& leases) {
    return {*database_,
            keyring_,
            debates_,
            leases,
            providers_,
            metrics_,
            [this](const store::Event& event) { publish_(event); },
            5s,
            600s};
  }
  store::Debate finished(const std::string& id) {
    for (int i = 0; i < 2000; ++i) {
      if (auto debate = debates_.find(id); debate->finished()) return *debate;
      std::this_thread::sleep_for(10ms);
    }
    ADD_FAILURE() << "debate " << id << " did not end";
    return *debates_.find(id);
  }
};

// The same database, which can be made to say nothing.
class Hushed : public database::Database {
 public:
  explicit Hushed(database::Database& real) : real_(real) {}
  void hush(bool silent) {
    silent_ = silent;
    silent_.notify_all();
  }
  Engine engine() const override { return real_.engine(); }
  void read(const Work& work) override {
    silent_.wait(true);
    real_.read(work);
  }
  database::Rows query(std::string_view sql, const database::Values& values) override {
    silent_.wait(true);
    return real_.query(sql, values);
  }
  void write(const Work& work) override {
    silent_.wait(true);
    real_.write(work);
  }
  void ping() override { real_.ping(); }
  std::string whyReadOnly() override { return real_.whyReadOnly(); }
  std::string version() override { return real_.version(); }
  PoolState pool() const override { return real_.pool(); }

 private:
  database::Database& real_;
  std::atomic<bool> silent_{false};
};

// What the watchdog of the daemon goes by.
TEST_P(RunningDebates, ASchedulerThatDoesNotComeRoundIsSeen) {
  Hushed hushed(*database_);
  store::Leases leases(hushed, "hushed");
  EngineOptions options;
  options.poll = options.renew = 10ms;
  debate::Engine engine(services(leases), options);
  engine.start();
  const auto becomes = [&](const auto& expected) {
    for (int i = 0; i < 1000 && !expected(engine.silence()); ++i) std::this_thread::sleep_for(10ms);
    return expected(engine.silence());
  };
  EXPECT_TRUE(becomes([](auto silence) { return silence < 300ms; }));
  hushed.hush(true);
  EXPECT_TRUE(becomes([](auto silence) { return silence > 1s; }));
  EXPECT_TRUE(becomes([&](auto) { return engine.renewerSilence() < 300ms; })) << "it has nothing to renew";
  hushed.hush(false);
  EXPECT_TRUE(becomes([](auto silence) { return silence < 300ms; }));
  engine.stop();
}

TEST_P(RunningDebates, ServiceCreatesAuditsAndRuns) {
  debate::Engine engine(services(here_), {});
  int changed = 0;
  Service service(
      {*database_, debates_, keyring_, engine, [&](debate::Change, const std::string&) { ++changed; }, publish_});
  engine.start();
  store::Debate draft;
  draft.task = "twice the same agent";
  draft.agents = {"demo", "demo", "demo"};
  draft.rounds = 1;
  draft.consensus_kind = "majority";
  const auto answering = [](const store::Debate& debate) { return debate.id; };
  const auto created = service.create(draft, {"somebody", "192.0.2.1", "r1"}, answering, {{"key", "print"}});
  const auto again = service.create(draft, {"somebody", "192.0.2.1", "r2"}, answering, {{"key", "print"}});
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.answer, created.answer);
  EXPECT_THROW(service.create(draft, {"somebody", "", ""}, answering, {{"key", "other"}}), Error);
  EXPECT_EQ(changed, 1);
  const auto debate = finished(created.answer);
  EXPECT_EQ(debate.status, store::DebateStatus::Completed) << debate.error;
  EXPECT_EQ(debate.owner, "somebody");
  std::set<std::string> seats;
  for (const auto& event : debates_.events(debate.id, 0, 1000)) seats.insert(event.agent);
  EXPECT_EQ(seats, (std::set<std::string>{"", "demo#1", "demo#2", "demo#3"}));
  const auto entries = rows("SELECT actor, action, object, ip_address FROM audit_log");
  ASSERT_EQ(entries.size(), 1U) << "a replay is no creation";
  EXPECT_EQ(entries[0].text(0) + " " + entries[0].text(1) + " " + entries[0].text(3),
            "api:somebody debate.create 192.0.2.1");
  EXPECT_EQ(entries[0].text(2), "debate:" + debate.id);
  EXPECT_THROW(service.cancel(debate.id, {"somebody", "", ""}), Error);
  EXPECT_THROW(service.require("nobody"), Error);
  engine.stop();
  EXPECT_EQ(verified(&keyring_), "");
}

TEST_P(RunningDebates, WhatTheAudienceSaysIsKeptOnceAndOnlyBeforeTheEnd) {
  debate::Engine engine(services(here_), {});
  std::vector<std::int64_t> published;
  publish_ = [&](const store::Event& event) {
    if (std::holds_alternative<store::AudienceMessage>(event.body)) published.push_back(event.seq);
  };
  Service service({*database_, debates_, keyring_, engine, [](debate::Change, const std::string&) {}, publish_});
  const auto id = create("somebody");
  const Caller owner{.principal = "somebody", .only_own = true};
  const auto answering = [](const store::Event& event) { return std::to_string(event.seq); };
  EXPECT_EQ(service.say(id, owner, "one", answering, {{"key", "print"}}).answer, "2");
  const auto again = service.say(id, owner, "one", answering, {{"key", "print"}});
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.answer, "2");
  EXPECT_THROW(service.say(id, owner, "other", answering, {{"key", "other print"}}), Error);
  EXPECT_THROW(service.say(id, {.principal = "another", .only_own = true}, "no", answering), Error);
  EXPECT_THROW(service.say(id, owner, std::string(40'000, 'x'), answering), Error) << "agents would have to read it";
  EXPECT_EQ(published, std::vector<std::int64_t>{2});
  EXPECT_THROW(service.remove(id, owner, false), Error) << "it has not ended";
  EXPECT_THROW(service.remove(id, owner, true), Error);
  engine.start();
  EXPECT_EQ(finished(id).status, store::DebateStatus::Completed);
  EXPECT_THROW(service.say(id, owner, "too late", answering), Error);
  engine.stop();
  std::vector<std::string> said;
  for (const auto& event : debates_.events(id, 0, 1000)) {
    if (const auto* message = std::get_if<store::AudienceMessage>(&event.body)) said.push_back(message->content);
  }
  EXPECT_EQ(said, std::vector<std::string>{"one"});
  EXPECT_EQ(rows("SELECT 1 FROM audit_log WHERE action = 'debate.message'").size(), 1U);
  EXPECT_EQ(verified(&keyring_), "");
}

TEST_P(RunningDebates, ADebateIsRemovedWithItsPartInTheRatings) {
  debate::Engine engine(services(here_), {});
  Service service({*database_, debates_, keyring_, engine, [](debate::Change, const std::string&) {}, publish_});
  engine.start();
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(create("somebody", {"demo-a", "demo-b", fmt::format("demo-{}", i)}));
  for (const auto& id : ids) finished(id);
  engine.stop();
  const Caller owner{.principal = "somebody", .only_own = true};
  EXPECT_THROW(service.remove(ids[1], {.principal = "another", .only_own = true}, false), Error);
  const auto looked = service.remove(ids[1], owner, true);
  EXPECT_TRUE(debates_.find(ids[1])) << "a dry run";
  const auto removed = service.remove(ids[1], owner, false);
  EXPECT_EQ(removed.events, looked.events);
  EXPECT_GT(removed.events, 5);
  EXPECT_FALSE(debates_.find(ids[1]));
  for (const auto* table : {"debate_events", "agent_calls", "matches", "debate_leases"})
    EXPECT_EQ(rows(fmt::format("SELECT 1 FROM {} WHERE debate_id = $1", table), {ids[1]}).size(), 0U) << table;
  EXPECT_THROW(service.remove(ids[1], owner, false), Error);
  EXPECT_EQ(rows("SELECT 1 FROM audit_log WHERE action = 'debate.delete'").size(), 1U);
  EXPECT_EQ(verified(&keyring_), "") << "ratings follow from the matches that are left";
}

TEST_P(RunningDebates, CreationsAtTheSameMomentAreAllAuditedOnce) {
  debate::Engine engine(services(here_), {});
  Service service({*database_, debates_, keyring_, engine, [](debate::Change, const std::string&) {}, publish_});
  std::atomic<int> replayed{0};
  {
    std::vector<std::jthread> writers;
    for (int writer = 0; writer < 12; ++writer) {
      writers.emplace_back([&, writer] {
        store::Debate draft;
        draft.task = "many at once";
        draft.agents = {"demo-a", "demo-b"};
        draft.consensus_kind = "majority";
        for (int i = 0; i < 20; ++i) {
          // Two writers share each key: one creates, the other is answered what was stored.
          const auto key = fmt::format("{}-{}", writer / 2, i);
          const auto created = service.create(draft, {"p", "", ""}, [](const auto& d) { return d.id; }, {{key, "f"}});
          if (created.replayed) ++replayed;
          EXPECT_TRUE(debates_.find(created.answer));
        }
      });
    }
  }
  EXPECT_EQ(replayed, 120);
  EXPECT_EQ(rows("SELECT count(*) FROM debates")[0].integer(0), 120);
  EXPECT_EQ(rows("SELECT count(DISTINCT object) FROM audit_log")[0].integer(0), 120);
  database_->read([&](Connection& connection) {
    const auto chain = audit::verifyChain(connection, keyring_);
    EXPECT_EQ(chain.entries, 120);
    EXPECT_FALSE(chain.first_bad);
  });
}

TEST_P(RunningDebates, WhatCannotBeRunIsTriedAgainAndThenEndsAsFailed) {
  publish_ = [](const store::Event& event) {
    if (!std::holds_alternative<store::DebateEnded>(event.body)) throw std::runtime_error("nobody listens");
  };
  EngineOptions options;
  options.tries = 3;
  options.first_pause = 20ms;
  options.poll = 20ms;
  debate::Engine engine(services(here_), options);
  const auto id = create();
  engine.start();
  const auto debate = finished(id);
  engine.stop();
  EXPECT_EQ(debate.status, store::DebateStatus::Failed);
  EXPECT_EQ(debate.outcome, "run_failed");
  EXPECT_EQ(debate.error, "nobody listens");
  EXPECT_EQ(rows("SELECT failures FROM debate_leases")[0].integer(0), 2);
}

TEST_P(RunningDebates, WithoutLeasesItBacksOffAndGoesOnByItself) {
  std::vector<std::string> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(create());
  // As on a full disk: reads work, leases cannot be written.
  if (GetParam() == Engine::Sqlite) {
    sql("CREATE TRIGGER full BEFORE INSERT ON debate_leases BEGIN SELECT RAISE(ABORT, 'full'); END");
  } else {
    sql("CREATE FUNCTION full_disk() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''full''; END' LANGUAGE plpgsql");
    sql("CREATE TRIGGER full_disk BEFORE INSERT ON debate_leases FOR EACH ROW EXECUTE FUNCTION full_disk()");
  }
  EngineOptions options;
  options.poll = 10ms;
  debate::Engine engine(services(here_), options);
  engine.start();
  timespec before{};
  timespec after{};
  std::this_thread::sleep_for(300ms);
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(1s);
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const auto busy =
      static_cast<double>(after.tv_sec - before.tv_sec) + static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e9;
  EXPECT_LT(busy, 0.5) << "it spins";
  sql(GetParam() == Engine::Sqlite ? "DROP TRIGGER full" : "DROP TRIGGER full_disk ON debate_leases");
  for (const auto& id : ids) EXPECT_EQ(finished(id).status, store::DebateStatus::Completed);
}

TEST_P(RunningDebates, ADeadlineCountsFromTheCreation) {
  const auto id = create();
  sql("UPDATE debates SET created_at = created_at - 601000000");
  debate::Engine engine(services(here_), {});
  engine.start();
  EXPECT_EQ(finished(id).outcome, "deadline_exceeded");
}

TEST_P(RunningDebates, AStopHandsBackSoThatAnotherInstanceGoesOn) {
  std::atomic<int> seen{0};
  publish_ = [&](const store::Event&) {
    ++seen;
    std::this_thread::sleep_for(5ms);
  };
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(create());
  auto first = std::make_unique<debate::Engine>(services(here_), EngineOptions{});
  debate::Engine second(services(there_), {.max_concurrent = 5});
  first->start();
  while (seen == 0) std::this_thread::sleep_for(1ms);
  const auto stopping = std::chrono::steady_clock::now();
  first->stop();
  EXPECT_LT(secondsSince(stopping), 2);
  second.start();
  for (const auto& id : ids) EXPECT_EQ(finished(id).status, store::DebateStatus::Completed);
  EXPECT_LT(secondsSince(stopping), 9) << "it waited for leases to run out";
  EXPECT_EQ(verified(&keyring_), "");
}

INSTANTIATE_TEST_SUITE_P(Engines, Debates, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);
INSTANTIATE_TEST_SUITE_P(Engines, RunningDebates, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::debate
