// What may be spent is never exceeded, whatever comes between, on both engines.
#include "common/store/budgets.h"

#include <gtest/gtest.h>

#include <random>

#include "common/migrate/migrator.h"
#include "common/store/debates.h"
#include "common/verify/budgets.h"
#include "tests/integration/between.h"

namespace aragora::store {
namespace {

using database::Connection;
using database::Engine;

constexpr Micros kSomeDay = 1'796'000'000'000'000;  // 2026-11-30

class BudgetsTest : public testing::TestWithParam<Engine> {
 protected:
  TestDatabase test_{GetParam()};
  std::unique_ptr<database::Database> database_ =
      (migrate::Migrator(test_.target()).up(), database::openDatabase(test_.target()));

  static Reservation call(const std::string& id, Picos wanted, Picos least = 0, const std::string& debate = "d",
                          const std::string& account = "a") {
    return {id, debate, account, "key", "openai", "gpt", "openai", wanted, least};
  }
  Grant reserve(const Reservation& reservation, const BudgetCaps& caps, Micros now = kSomeDay) {
    return database_->writing(
        [&](Connection& connection) { return Budgets::reserve(connection, reservation, caps, now); });
  }
  std::vector<BudgetCrossing> charge(const std::string& id, ChargeState state, Picos cost = 0) {
    return database_->writing([&](Connection& connection) {
      return Budgets::charge(connection, id, {state, cost}, kSomeDay);
    });
  }
  std::string wrong() {
    return database_->reading([](Connection& connection) { return verify::lookAtBudgets(connection).wrong; });
  }
  void sql(const std::string& text) {
    database_->write([&](Connection& connection) { connection.query(text, {}); });
  }
  Budget debate(const std::string& id = "d") {
    const auto found = database_->reading([&](Connection& connection) { return Budgets::ofDebates(connection, {id}); });
    return found.empty() ? Budget() : found[0];
  }
};

TEST_P(BudgetsTest, ReservesAtAllBudgetsOrAtNone) {
  const BudgetCaps caps{.debate = 100, .account_daily = 150, .daily = 1000};
  EXPECT_EQ(reserve(call("1", 80, 80), caps).picos, 80);
  const auto refused = reserve(call("2", 80, 80, "other"), caps);
  ASSERT_TRUE(refused.full);
  EXPECT_EQ(describe(*refused.full), "the budget of account a on 2026-11-30");
  EXPECT_EQ(refused.left, 70);
  EXPECT_EQ(debate("other").used(), 0);
  EXPECT_EQ(reserve(call("3", 80, 50, "other"), caps).picos, 70) << "what is left, where that is enough";
  EXPECT_EQ(reserve(call("4", 80, 80, "third", "b"), caps).picos, 80) << "another account's day";
}

TEST_P(BudgetsTest, TakesWhatACallDidCostInPlaceOfWhatItCouldCost) {
  const BudgetCaps caps{.debate = 100};
  reserve(call("1", 100), caps);
  EXPECT_TRUE(reserve(call("2", 10, 10), caps).full);
  charge("1", ChargeState::Settled, 30);
  EXPECT_EQ(reserve(call("2", 70, 70), caps).picos, 70);
  charge("2", ChargeState::Released);
  reserve(call("3", 70, 70), caps);
  charge("3", ChargeState::ChargedUnknown);
  const auto budget = debate();
  EXPECT_EQ(budget.settled, 30);
  EXPECT_EQ(budget.unknown, 70);
  EXPECT_EQ(budget.reserved, 0);
  EXPECT_TRUE(reserve(call("4", 1, 1), caps).full) << "what is unknown may have been billed";
  charge("3", ChargeState::Settled, 20);  // known after all
  EXPECT_EQ(debate().settled, 50);
  EXPECT_EQ(debate().unknown, 0);
}

TEST_P(BudgetsTest, CountsACallOnce) {
  const BudgetCaps caps{.debate = 100};
  EXPECT_EQ(reserve(call("1", 60), caps).picos, 60);
  EXPECT_EQ(reserve(call("1", 60), caps).picos, 60);
  EXPECT_EQ(reserve(call("1", 60, 60), caps).picos, 60) << "though there is no room for another";
  EXPECT_EQ(debate().reserved, 60);
  for (int i = 0; i < 3; ++i) charge("1", ChargeState::Settled, 40);
  charge("1", ChargeState::Released);
  charge("1", ChargeState::ChargedUnknown);
  EXPECT_EQ(debate().settled, 40);
  EXPECT_EQ(debate().used(), 40);
  charge("never reserved", ChargeState::Settled, 40);
  EXPECT_EQ(debate().used(), 40);
}

TEST_P(BudgetsTest, SaysWhetherWaitingHelps) {
  const BudgetCaps caps{.debate = 100};
  reserve(call("1", 100), caps);
  const auto full = reserve(call("2", 10, 10), caps);
  EXPECT_TRUE(full.full);
  EXPECT_TRUE(full.later) << "the call that is on its way may cost less";
  EXPECT_TRUE(full.crossed.empty()) << "nothing is used up yet";
  charge("1", ChargeState::Settled, 95);
  EXPECT_FALSE(reserve(call("2", 10, 10), caps).later);
  EXPECT_EQ(reserve(call("2", 5, 5), caps).picos, 5);
}

TEST_P(BudgetsTest, CountsWhatAProviderChargesBeyondItsPriceList) {
  const BudgetCaps caps{.debate = 100};
  reserve(call("1", 100), caps);
  charge("1", ChargeState::Settled, 130);
  EXPECT_EQ(debate().settled, 130);
  EXPECT_EQ(debate().overrun, 30);
  EXPECT_TRUE(reserve(call("2", 1, 1), caps).full);
}

TEST_P(BudgetsTest, TellsEachShareOfACapOnce) {
  const BudgetCaps caps{.debate = 100};
  const auto percents = [](const std::vector<BudgetCrossing>& crossed) {
    std::vector<std::int64_t> result;
    for (const auto& one : crossed) result.push_back(one.percent);
    return result;
  };
  const std::vector<std::int64_t> none;
  for (const auto& [id, cost, told] : std::vector<std::tuple<std::string, Picos, std::vector<std::int64_t>>>{
           {"1", 49, none}, {"2", 1, {50}}, {"3", 10, none}, {"4", 30, {90}}}) {
    reserve(call(id, cost), caps);
    EXPECT_EQ(percents(charge(id, ChargeState::Settled, cost)), told) << id;
  }
  EXPECT_EQ(percents(reserve(call("5", 11, 11), caps).crossed), std::vector<std::int64_t>{100});
  EXPECT_EQ(percents(reserve(call("6", 11, 11), caps).crossed), none);
  const BudgetCaps raised{.debate = 200};
  EXPECT_EQ(percents(reserve(call("7", 60, 60), raised).crossed), none);
  EXPECT_EQ(percents(charge("7", ChargeState::Settled, 60)), std::vector<std::int64_t>{75});
}

TEST_P(BudgetsTest, BeginsTheDayAtMidnightUtc) {
  const BudgetCaps caps{.daily = 100};
  const auto midnight = (kSomeDay / 86'400'000'000 + 1) * 86'400'000'000;
  reserve(call("1", 100), caps, midnight - 1);
  EXPECT_TRUE(reserve(call("2", 100, 100), caps, midnight - 1).full);
  EXPECT_EQ(reserve(call("2", 100, 100), caps, midnight).picos, 100);
  charge("1", ChargeState::Settled, 10);  // of the day it was reserved on, whenever that comes
  const auto old = database_->reading(
      [&](Connection& connection) { return Budgets::ofDay(connection, dayOf(midnight - 1), std::nullopt); });
  ASSERT_EQ(old.size(), 2U);
  EXPECT_EQ(old[0].settled, 10);
}

TEST_P(BudgetsTest, KeepsWhatIsReservedForCallsOfAnInstanceThatIsGone) {
  crypto::Keyring keyring{Secret(std::string(64, 'a'))};
  Debates debates(*database_, keyring);
  Debate debate;
  debate.id = newUlid();
  debate.task = "a task";
  debate.consensus_kind = "majority";
  debate.budget = 100;
  debate.key_id = "k";
  debate.created_at = nowMicros();
  debates.create(debate);
  EXPECT_EQ(debates.find(debate.id)->budget, 100);
  EXPECT_EQ(debates.find(debate.id)->key_id, "k");
  Leases here(*database_, "here");
  const auto lease = here.acquire(debate.id, std::chrono::seconds(60)).value();
  const auto intend = [&](const Lease& by, const std::string& seat, Picos wanted) {
    Call one;
    one.id = newUlid();
    one.debate_id = debate.id;
    one.seat = seat;
    const auto grant =
        debates.recordIntent(by, one, call(one.id, wanted, wanted, debate.id), BudgetCaps{.debate = debate.budget});
    return std::pair(one, grant);
  };
  auto [first, granted] = intend(lease, "a", 70);
  EXPECT_EQ(granted.picos, 70);
  EXPECT_TRUE(intend(lease, "b", 70).second.full);
  EXPECT_EQ(debates.calls(debate.id).size(), 1U) << "a call that does not fit leaves no intent";
  here.release(lease);
  Leases there(*database_, "there");
  const auto taken = there.acquire(debate.id, std::chrono::seconds(60)).value();
  debates.giveUpIntents(taken);
  EXPECT_EQ(this->debate(debate.id).unknown, 70);
  EXPECT_EQ(debates.calls(debate.id)[0].cost, 70);
  EXPECT_EQ(refusalOf([&] { intend(lease, "c", 10); }), "CONFLICT") << "the lease is gone";
  EXPECT_EQ(this->debate(debate.id).used(), 70);
  first.state = CallState::Done;
  debates.recordResult(first, Charge{ChargeState::Settled, 20});  // the old instance lives, and comes late
  EXPECT_EQ(this->debate(debate.id).settled, 20);
  EXPECT_EQ(debates.calls(debate.id)[0].cost, 20);
  EXPECT_EQ(debates.calls(debate.id)[0].state, CallState::Unknown);
}

TEST_P(BudgetsTest, TellsWhoSpends) {
  reserve(call("1", 100), {});
  reserve(call("2", 50, 0, "other", "b"), {});
  reserve(call("3", 7), {});
  charge("1", ChargeState::Settled, 40);
  charge("2", ChargeState::ChargedUnknown);
  const auto spent = [&](Budgets::By by, const Budgets::Which& which) {
    std::string text;
    for (const auto& line :
         database_->reading([&](Connection& connection) { return Budgets::spent(connection, by, which, 10); }))
      text += fmt::format("{}:{}:{}/{}/{} ", line.what, line.calls, line.settled, line.unknown, line.reserved);
    return text;
  };
  EXPECT_EQ(spent(Budgets::By::Account, {}), "a:2:40/0/7 b:1:0/50/0 ");
  EXPECT_EQ(spent(Budgets::By::Provider, {}), "openai:3:40/50/7 ");
  EXPECT_EQ(spent(Budgets::By::Key, {.account = "b"}), "key:1:0/50/0 ");
  EXPECT_EQ(spent(Budgets::By::Model, {.debate = "d"}), "gpt:2:40/0/7 ");
  EXPECT_EQ(spent(Budgets::By::Agent, {.to_day = dayOf(kSomeDay) - 1}), "");
  // Somebody else answered.
  database_->writing([&](Connection& connection) {
    return Budgets::charge(connection, "3", {ChargeState::Settled, 5, "openrouter", "openai/gpt"}, kSomeDay);
  });
  EXPECT_EQ(spent(Budgets::By::Provider, {}), "openai:2:40/50/0 openrouter:1:5/0/0 ");
}

TEST_P(BudgetsTest, VerifyNamesWhatSomebodyChanged) {
  const BudgetCaps caps{.debate = 1000, .account_daily = 1000, .daily = 1000};
  for (const auto* id : {"1", "2", "3", "4"}) reserve(call(id, 100), caps);
  charge("1", ChargeState::Settled, 120);
  charge("2", ChargeState::ChargedUnknown);
  charge("3", ChargeState::Released);
  EXPECT_EQ(wrong(), "");
  const auto after = [&](const std::string& change, const std::string& back) {
    sql(change);
    const auto named = wrong();
    sql(back);
    EXPECT_EQ(wrong(), "");
    return named;
  };
  EXPECT_EQ(after("UPDATE budgets SET settled_picos = 119 WHERE scope = 'debate'",
                  "UPDATE budgets SET settled_picos = 120 WHERE scope = 'debate'"),
            "the budget of debate d says 0.000000000119 settled, 0.0000000001 unknown, 0.0000000001 reserved, "
            "0.00000000002 overrun; its calls make it 0.00000000012 settled, 0.0000000001 unknown, 0.0000000001 "
            "reserved, 0.00000000002 overrun");
  EXPECT_TRUE(startsWith(after("UPDATE budget_calls SET status = 'released' WHERE call_id = '4'",
                               "UPDATE budget_calls SET status = 'reserved' WHERE call_id = '4'"),
                         "the budget of account a on 2026-11-30 says"));
  EXPECT_EQ(after("UPDATE budgets SET scope = 'day', subject = 'x' WHERE scope = 'debate'",
                  "UPDATE budgets SET scope = 'debate', subject = 'd' WHERE subject = 'x'")
                .substr(0, 14),
            "the budget of ");
}

// 10,000 steps of eight threads at two instances: reservations, ends of all kinds, replays, transactions that are given
// up at any statement, connections that break, debates that are taken over.
class Storm {
 public:
  static constexpr int kThreads = 8;
  static constexpr int kSteps = 10'000;
  static constexpr Picos kDebateCap = 3'000;
  static constexpr Picos kAccountCap = 20'000;
  static constexpr Picos kDayCap = 70'000;

  explicit Storm(const database::Target& target)
      : target_(target), instances_{database::openDatabase(target), database::openDatabase(target)} {}

  void run() {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) threads.emplace_back([this, i] { work(i); });
    for (auto& thread : threads) thread.join();
    look();
  }

  std::atomic<int> granted{0};
  std::atomic<int> shrunk{0};
  std::atomic<int> refused{0};
  std::atomic<int> abandoned{0};
  std::atomic<int> looks{0};

 private:
  struct Given {};  // up
  struct Mine {
    Reservation reservation;
    Picos picos = 0;
  };

  void work(int thread) {
    std::mt19937_64 random(static_cast<std::uint64_t>(thread) + 1);
    const auto below = [&](std::int64_t limit) {
      return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(limit));
    };
    std::vector<Mine> mine;
    for (int step = 0; step < kSteps / kThreads; ++step) {
      auto& database = *instances_[static_cast<std::size_t>(below(2))];
      const auto kind = below(100);
      try {
        if (kind < 45 || mine.empty()) {
          const auto debate = below(60);
          const auto wanted = below(900) + 1;
          Mine one{{newUlid(), fmt::format("d{}", debate), fmt::format("a{}", debate % 5), "", "p", "m", "s", wanted,
                    wanted / (below(3) + 1)},
                   0};
          if (below(10) == 0) giveUpReserving(database, one.reservation, below(2) == 0);
          reserve(database, one, mine);
        } else if (kind < 50) {  // a replay of what was reserved before
          auto one = mine[static_cast<std::size_t>(below(static_cast<std::int64_t>(mine.size())))];
          const auto before = one.picos;
          const auto again = database.writing(
              [&](Connection& connection) { return Budgets::reserve(connection, one.reservation, caps(), kSomeDay); });
          EXPECT_EQ(again.picos, before);
        } else if (kind < 52) {
          const auto debate = fmt::format("d{}", below(60));
          database.write([&](Connection& connection) { Budgets::giveUp(connection, debate, kSomeDay); });
        } else {
          const auto at = static_cast<std::size_t>(below(static_cast<std::int64_t>(mine.size())));
          end(database, mine[at], below(3), below(mine[at].picos + 1), below(10) == 0);
        }
      } catch (const Given&) {
        ++abandoned;
      } catch (const Error& error) {
        // A connection that was ended. Everything else is a failure.
        if (error.code() != Code::Unreachable) ADD_FAILURE() << error.what();
        ++abandoned;
      }
      if (step % 25 == 0) look();
    }
  }

  static BudgetCaps caps() { return {.debate = kDebateCap, .account_daily = kAccountCap, .daily = kDayCap}; }

  void reserve(database::Database& database, Mine& one, std::vector<Mine>& mine) {
    const auto grant = database.writing(
        [&](Connection& connection) { return Budgets::reserve(connection, one.reservation, caps(), kSomeDay); });
    if (grant.full) {
      ++refused;
      return;
    }
    if (grant.picos < one.reservation.wanted) ++shrunk;
    one.picos = grant.picos;
    mine.push_back(one);
    ++granted;
  }

  void giveUpReserving(database::Database& database, const Reservation& reservation, bool breaks) {
    database.write([&](Connection& connection) {
      Budgets::reserve(connection, reservation, caps(), kSomeDay);
      leave(connection, breaks);
    });
  }

  void end(database::Database& database, const Mine& one, std::int64_t how, Picos cost, bool given_up) {
    static constexpr ChargeState kEnds[] = {ChargeState::Settled, ChargeState::ChargedUnknown, ChargeState::Released};
    const Charge charge{kEnds[how], how == 0 ? cost : 0};
    database.write([&](Connection& connection) {
      Budgets::charge(connection, one.reservation.call_id, charge, kSomeDay);
      if (given_up) leave(connection, how == 0);
    });
  }

  [[noreturn]] static void leave(Connection& connection, bool breaks) {
    if (breaks && connection.engine() == Engine::Postgres)
      connection.query("SELECT pg_terminate_backend(pg_backend_pid())", {});
    throw Given{};
  }

  // One snapshot: what the budgets say is what the calls make of them, and within the caps.
  void look() {
    ++looks;
    const auto sum = [](const char* scope, const char* subject, const char* day) {
      return fmt::format(
          "SELECT '{}' AS scope, {} AS subject, {} AS day, CAST(sum(CASE WHEN status = 'reserved' THEN reserved_picos "
          "ELSE 0 END) AS bigint) AS reserved, CAST(sum(CASE WHEN status = 'settled' THEN cost_picos ELSE 0 END) AS "
          "bigint) AS settled, CAST(sum(CASE WHEN status = 'charged_unknown' THEN cost_picos ELSE 0 END) AS bigint) AS "
          "unknown FROM budget_calls GROUP BY 1, 2, 3",
          scope, subject, day);
    };
    const auto rows = instances_[0]->query(fmt::format(
        "SELECT b.scope, b.subject, b.settled_picos, b.unknown_picos, b.reserved_picos, coalesce(s.settled, "
        "0), coalesce(s.unknown, 0), coalesce(s.reserved, 0) FROM budgets b LEFT JOIN ({} UNION ALL {} "
        "UNION ALL {}) s ON s.scope = b.scope AND s.subject = b.subject AND s.day = b.day",
        sum("debate", "debate_id", "0"), sum("account", "account", "day"), sum("day", "''", "day")));
    for (const auto& row : rows) {
      const auto about = row.text(0) + " " + row.text(1);
      const auto cap = row.text(0) == "debate" ? kDebateCap : row.text(0) == "account" ? kAccountCap : kDayCap;
      EXPECT_LE(row.integer(5) + row.integer(6) + row.integer(7), cap) << about;
      EXPECT_EQ(row.integer(2), row.integer(5)) << about;
      EXPECT_EQ(row.integer(3), row.integer(6)) << about;
      EXPECT_EQ(row.integer(4), row.integer(7)) << about;
    }
  }

  database::Target target_;
  std::array<std::unique_ptr<database::Database>, 2> instances_;
};

TEST_P(BudgetsTest, HoldsEveryCapThroughTenThousandStepsAndCrashes) {
  if (GetParam() == Engine::Postgres)  // what is durable is not what is asked here
    database::connect(test_.target())
        ->query(
            "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = off'; END $$",
            {});
  Storm storm(test_.target());
  storm.run();
  EXPECT_GT(storm.granted, 100);
  EXPECT_GT(storm.shrunk, 10);
  EXPECT_GT(storm.refused, 100) << "the caps are never reached: this proves nothing";
  EXPECT_GT(storm.abandoned, 100);
  EXPECT_EQ(wrong(), "");
  RecordProperty("looks", storm.looks);
}

INSTANTIATE_TEST_SUITE_P(Engines, BudgetsTest, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::store
