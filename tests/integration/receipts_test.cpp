// Receipts and their log on both engines: each debate that ends has one, in one sequence, whoever ends it.
#include <gtest/gtest.h>

#include <future>

#include "common/crypto/hash.h"
#include "common/migrate/migrator.h"
#include "common/receipts/canonical.h"
#include "common/store/debates.h"
#include "common/store/key_use.h"
#include "common/store/receipts.h"
#include "common/verify/verify.h"
#include "tests/integration/services.h"

namespace aragora::store {
namespace {

using database::Connection;
using database::Engine;
using namespace std::chrono_literals;

class ReceiptLog : public testing::TestWithParam<Engine> {
 protected:
  TestDatabase test_{GetParam()};
  Secret key_{toHex(crypto::randomBytes(32))};
  crypto::Keyring keyring_{key_};
  std::unique_ptr<database::Database> database_ =
      (migrate::Migrator(test_.target()).up(), database::openDatabase(test_.target()));
  Debates debates_{*database_, keyring_};
  Receipts receipts_{*database_, keyring_};
  Leases leases_{*database_, "here"};

  std::string create() {
    Debate debate;
    debate.id = newUlid();
    debate.task = "a task";
    debate.agents = {"demo-a", "demo-b"};
    debate.consensus_kind = "majority";
    debate.created_at = nowMicros();
    debates_.create(debate);
    return debate.id;
  }
  static void end(Debates& debates, Leases& leases, const std::string& id) {
    const auto lease = leases.acquire(id, 30s);
    ASSERT_TRUE(lease);
    Summary summary;
    summary.status = DebateStatus::Failed;
    summary.outcome = "run_failed";
    summary.completed = true;
    debates.append(*lease,
                   {{1, "demo-a", Vote{"demo-b", 70, "a reason"}},
                    {1, "", DebateEnded{DebateStatus::Failed, "run_failed", "", false, 0.5, 1}}},
                   summary);
  }
  // Asked, and answered or not.
  void ask(const std::string& id, const std::string& seat, std::int64_t attempt, CallState state,
           const std::string& request_id) {
    const auto lease = leases_.acquire(id, 30s);
    ASSERT_TRUE(lease);
    Call call;
    call.id = newUlid();
    call.debate_id = id;
    call.phase = Phase::Propose;
    call.seat = seat;
    call.attempt = attempt;
    call.provider = "openai";
    call.model = "gpt-x";
    debates_.recordIntent(*lease, call);
    call.state = state;
    call.request_id = request_id;
    debates_.recordResult(call);
    leases_.release(*lease);
  }
  std::string createAndEnd() {
    auto id = create();
    end(debates_, leases_, id);
    return id;
  }
  void sql(const std::string& text, const database::Values& values = {}) {
    database_->write([&](Connection& connection) { connection.query(text, values); });
  }
  std::string found(const std::string& id) {
    verify::Options how;
    how.keyring = &keyring_;
    for (const auto& finding : verify::verifyDatabase(test_.target(), how).findings) {
      if (finding.id == id) return (finding.outcome == verify::Outcome::Ok ? "ok: " : "bad: ") + finding.message;
    }
    return "not looked at";
  }
  receipts::Verdict verified(const Receipt& receipt) {
    const auto bundle = receipts_.bundle(receipt);
    const auto keys = database_->reading([](Connection& connection) { return receiptKeys(connection); });
    return receipts::verifyBundle(toJson(bundle), {{keys.front().key}, {}});
  }
};

TEST_P(ReceiptLog, IsEmptyUntilADebateEnds) {
  create();
  EXPECT_EQ(receipts_.size(), 0);
  EXPECT_THROW((void)receipts_.checkpoint(), Error) << "no daemon was started";
  EXPECT_EQ(found("receipts"), "ok: none yet");
}

TEST_P(ReceiptLog, TheTransactionThatEndsADebateWritesItsReceipt) {
  const auto id = createAndEnd();
  const auto receipt = receipts_.ofDebate(id);
  ASSERT_TRUE(receipt);
  EXPECT_EQ(receipt->index, 0);
  const auto verdict = verified(*receipt);
  EXPECT_TRUE(verdict.holds());
  EXPECT_TRUE(verdict.with_contents);
  EXPECT_EQ(found("receipts").rfind("ok: 1 receipt hold", 0), 0U) << found("receipts");
}

TEST_P(ReceiptLog, SaysWhichNumbersTheProviderGaveToTheCalls) {
  const auto id = create();
  ask(id, "demo-a", 1, CallState::Failed, "req_1");
  ask(id, "demo-a", 2, CallState::Done, "req_2");
  ask(id, "demo-b", 1, CallState::Done, "");
  end(debates_, leases_, id);
  const auto receipt = receipts_.ofDebate(id);
  ASSERT_TRUE(receipt);
  const auto body = parseJson(receipt->body, "it");
  const auto& seats = body.at("seats").as_array();
  ASSERT_EQ(seats.size(), 2U);
  EXPECT_EQ(toJson(seats[0].at("served_by").at(0).at("request_ids")), R"(["req_1","req_2"])");
  EXPECT_FALSE(seats[1].at("served_by").at(0).as_object().contains("request_ids"));
  EXPECT_TRUE(verified(*receipt).holds());
  EXPECT_EQ(debates_.calls(id).at(0).request_id, "req_1");
}

TEST_P(ReceiptLog, SaysUnderWhichSettingsADebateWasCreatedAndEnded) {
  Debate debate;
  debate.id = newUlid();
  debate.task = "a task";
  debate.agents = {"demo-a"};
  debate.created_at = nowMicros();
  debate.config_hash = "0a";
  debates_.create(debate);
  const auto lease = leases_.acquire(debate.id, 30s);
  ASSERT_TRUE(lease);
  Summary summary;
  summary.status = DebateStatus::Failed;
  summary.completed = true;
  debates_.append(*lease, {{1, "", DebateEnded{DebateStatus::Failed, "run_failed", "", false, 0.5, 1, "0b"}}}, summary);
  const auto receipt = receipts_.ofDebate(debate.id);
  ASSERT_TRUE(receipt);
  const auto body = parseJson(receipt->body, "it");
  EXPECT_EQ(body.at("asked").at("said").at("config").at("id").as_string(), "0a");
  EXPECT_EQ(body.at("end").at("said").at("config").at("id").as_string(), "0b");
  EXPECT_TRUE(verified(*receipt).holds());
  EXPECT_EQ(found("receipts").rfind("ok: 1 receipt hold", 0), 0U) << found("receipts");
}

TEST_P(ReceiptLog, HasNoGapWhereTwoInstancesEndDebatesAtOnce) {
  constexpr int kEach = 30;
  std::vector<std::future<void>> instances;
  std::vector<std::vector<std::string>> ids(2);
  for (auto& mine : ids) {
    for (int i = 0; i < kEach; ++i) mine.push_back(create());
  }
  const auto other = database::openDatabase(test_.target());
  for (std::size_t k = 0; k < 2; ++k) {
    instances.push_back(std::async(std::launch::async, [&, k] {
      auto& database = k == 0 ? *database_ : *other;
      Debates debates(database, keyring_);
      Leases leases(database, fmt::format("instance-{}", k));
      for (const auto& id : ids[k]) end(debates, leases, id);
    }));
  }
  for (auto& instance : instances) instance.get();
  EXPECT_EQ(receipts_.size(), 2 * kEach);
  for (std::int64_t index = 0; index < 2 * kEach; ++index) ASSERT_TRUE(receipts_.at(index)) << index;
  EXPECT_TRUE(verified(*receipts_.at(17)).holds());
  EXPECT_EQ(found("receipts").rfind("ok: 60 receipts hold", 0), 0U) << found("receipts");
}

TEST_P(ReceiptLog, WhatEndedWithoutOneGetsItOnceFromWhoeverCatchesUp) {
  std::vector<std::string> ids;
  for (int i = 0; i < 7; ++i) ids.push_back(createAndEnd());
  for (const auto* table : {"receipts", "receipt_nodes", "receipt_salts"}) sql(fmt::format("DELETE FROM {}", table));
  sql("UPDATE receipt_log SET size = 0");
  const auto other = database::openDatabase(test_.target());
  auto theirs = std::async(std::launch::async, [&] { return Receipts(*other, keyring_).catchUp(); });
  receipts_.catchUp();
  theirs.get();
  EXPECT_EQ(receipts_.size(), 7);
  EXPECT_EQ(receipts_.catchUp(), 0);
  for (const auto& id : ids) EXPECT_TRUE(verified(*receipts_.ofDebate(id)).holds());
  EXPECT_EQ(found("receipts").rfind("ok: 7 receipts hold", 0), 0U) << found("receipts");
}

TEST_P(ReceiptLog, HoldsWhenADebateIsErased) {
  const auto id = createAndEnd();
  createAndEnd();
  database_->write([&](Connection& connection) { Debates::remove(connection, id); });
  const auto verdict = verified(*receipts_.ofDebate(id));
  EXPECT_TRUE(verdict.holds());
  EXPECT_FALSE(verdict.with_contents);
  EXPECT_NE(found("receipts").find("1 erased"), std::string::npos) << found("receipts");
}

TEST_P(ReceiptLog, GoesOnUnderAnotherKeyAndAnotherEncryptionKey) {
  const auto first = createAndEnd();
  const auto key = receipts_.rotate();
  const auto second = createAndEnd();
  EXPECT_EQ(receipts_.ofDebate(second)->key_id, key.key.id());
  EXPECT_TRUE(verified(*receipts_.ofDebate(first)).holds());
  EXPECT_TRUE(verified(*receipts_.ofDebate(second)).holds());
  const Secret fresh(toHex(crypto::randomBytes(32)));
  const auto old_id = keyring_.activeId();
  keyring_ = crypto::Keyring(fresh, {key_});
  const auto use = [this] {
    return database_->reading([this](Connection& connection) { return keyUse(connection, keyring_); })["receipt keys"];
  };
  EXPECT_EQ(use(), (std::map<std::string, std::int64_t>{{old_id, 2}}));
  EXPECT_EQ(resealEverything(*database_, keyring_).receipt_keys, 2);
  EXPECT_EQ(resealEverything(*database_, keyring_).receipt_keys, 0);
  EXPECT_EQ(use(), (std::map<std::string, std::int64_t>{{keyring_.activeId(), 2}}));
  keyring_ = crypto::Keyring(fresh);
  receipts_.rotate();
  EXPECT_EQ(found("receipts").rfind("ok: 2 receipts hold", 0), 0U) << found("receipts");
}

TEST_P(ReceiptLog, TheSeedIsNotInTheDatabase) {
  createAndEnd();
  const auto rows = database_->query("SELECT seed FROM receipt_keys");
  EXPECT_EQ(rows.at(0).text(0).rfind("v1." + keyring_.activeId() + ".", 0), 0U);
}

INSTANTIATE_TEST_SUITE_P(Engines, ReceiptLog, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::store
