// What two do to one account at the same moment, and what every change of it ends, on both engines.
#include <gtest/gtest.h>

#include "common/accounts/api_keys.h"
#include "common/accounts/self_service.h"
#include "common/accounts/tickets.h"
#include "common/accounts/totp.h"
#include "common/migrate/migrator.h"
#include "tests/integration/between.h"

namespace aragora::accounts {
namespace {

using database::Engine;

const Secret kPassword("a password that is long enough");
const Secret kOther("another password, also long");
const Client kClient{"192.0.2.1", "test", "request-1"};
const Doer kDoer{"test", kClient};
const std::string kAda = "ada@example.org";

class AccountsAtOnce : public testing::TestWithParam<Engine> {
 protected:
  TestDatabase test_{GetParam()};
  crypto::Keyring keyring_{Secret(std::string(64, 'a'))};
  std::unique_ptr<database::Database> database_ =
      (migrate::Migrator(test_.target()).up(), database::openDatabase(test_.target()));
  Between between_{*database_, test_.target()};
  // Who is interrupted, and who comes in between.
  Accounts first_{between_, keyring_, {.token_secret = Secret("a secret of thirty-two characters!")}};
  Accounts second_{*database_, keyring_, {.token_secret = Secret("a secret of thirty-two characters!")}};
  SelfService first_self_{between_, keyring_};
  SelfService second_self_{*database_, keyring_};
  ApiKeys first_keys_{between_, keyring_};
  ApiKeys second_keys_{*database_, keyring_};

  User add(Role role = Role::Member, const std::string& email = kAda) {
    return second_.add(email, "Ada", role, kPassword, "test");
  }
  std::int64_t count(const std::string& from) { return database_->query("SELECT count(*) FROM " + from)[0].integer(0); }
  std::int64_t audited(const std::string& action) {
    return count(fmt::format("audit_log WHERE action = '{}' AND result = 'success'", action));
  }
  std::string codeOf(const SecondFactor::Enrolment& enrolment, std::int64_t steps = 0) {
    const auto base32 = enrolment.secret.reveal();
    std::string bytes;
    std::uint32_t bits = 0;
    int held = 0;
    for (const char letter : base32) {
      bits = bits << 5U | static_cast<std::uint32_t>(letter >= 'A' ? letter - 'A' : letter - '2' + 26);
      if ((held += 5) >= 8) bytes += static_cast<char>(bits >> (held -= 8) & 255U);
    }
    return totpCode(bytes, nowMicros() / 1'000'000 / kTotpStep + steps);
  }
  // The recovery codes of a factor that is on.
  std::vector<Secret> factorOf(const User& user) {
    auto& factor = second_.secondFactor();
    return factor.confirm(user.id, codeOf(factor.enrol(user.id, kDoer)), kDoer);
  }
};

TEST_P(AccountsAtOnce, WhatWasHandedOutEndsWithEveryChangeOfTheAccount) {
  const auto user = add();
  auto& factor = second_.secondFactor();
  const auto key = second_keys_.create(user.id, {.name = "program"}, kDoer);
  Secret password = kPassword;
  const auto renew = [&](const Secret& wanted) {
    second_self_.changePassword(user.id, password, wanted, kDoer);
    password = wanted;
  };
  const std::map<std::string, std::function<void()>> changes{
      {"password", [&] { second_.setPassword(kAda, password = kOther, "test"); }},
      {"off and on",
       [&] {
         second_.setActive(kAda, false, "test");
         EXPECT_EQ(count("one_time_tokens"), 0);
         second_.setActive(kAda, true, "test");
       }},
      {"on", [&] { second_.setActive(kAda, true, "test"); }},
      {"role", [&] { second_.setRole(kAda, Role::Viewer, "test"); }},
      {"own password", [&] { renew(Secret("a third password, as long")); }}};
  for (const auto& [what, change] : changes) {
    const auto token = second_self_.issueReset(kAda, kDoer);
    const auto enrolment = factor.enrol(user.id, kDoer);
    const auto login = second_.logIn(kAda, password, kClient);
    change();
    EXPECT_EQ(refusalOf([&] { second_self_.resetPassword(token.reveal(), Secret("set by whoever has it"), kClient); }),
              "AUTH_REQUIRED")
        << what;
    EXPECT_EQ(refusalOf([&] { factor.confirm(user.id, codeOf(enrolment), kDoer); }), "CONFLICT") << what;
    EXPECT_EQ(refusalOf([&] { second_.refresh(login.refresh_token, kClient); }), "AUTH_REQUIRED") << what;
    EXPECT_EQ(count("one_time_tokens"), 0) << what;
  }
  EXPECT_EQ(second_keys_.requireLive(*parseApiKey(key.text.reveal())).user.id, user.id) << "programs go on";
}

TEST_P(AccountsAtOnce, OfPasswordChangesOneCounts) {
  const auto user = add();
  for (const auto* moment : {"UPDATE users SET password_hash", Between::kCommit}) {
    second_.setPassword(kAda, kPassword, "test");
    const auto before = audited("user.password");
    std::string theirs;
    between_.before(moment, [&] {
      theirs = refusalOf([&] { second_self_.changePassword(user.id, kPassword, Secret("the second of two"), kDoer); });
    });
    const auto ours = refusalOf([&] { first_self_.changePassword(user.id, kPassword, kOther, kDoer); });
    EXPECT_TRUE(between_.join());
    EXPECT_EQ(int(ours.empty()) + int(theirs.empty()), 1) << moment << ": " << ours << ", " << theirs;
    // Who is only a moment late finds that the password is not theirs any more.
    EXPECT_TRUE(ours + theirs == "CONFLICT" || ours + theirs == "FORBIDDEN") << moment << ": " << ours + theirs;
    EXPECT_EQ(audited("user.password") - before, 1) << moment;
    EXPECT_EQ(refusalOf([&] { second_.logIn(kAda, ours.empty() ? kOther : Secret("the second of two"), kClient); }),
              "");
  }
}

// Whichever of both is first.
TEST_P(AccountsAtOnce, ASessionThatEndsWhileItIsRefreshedHasEnded) {
  const auto user = add();
  const std::vector<std::function<void(const Login&)>> endings{
      [&](const Login& login) {
        second_.endSession(user.id, second_.readAccessToken(login.access_token).session, kDoer);
      },
      [&](const Login& login) { second_.logOut(second_.readAccessToken(login.access_token), kClient); },
      [&](const Login& login) { second_.logOutEverywhere(second_.readAccessToken(login.access_token), kClient); },
      [&](const Login&) { second_.setPassword(kAda, kPassword, "test"); },
      [&](const Login&) { second_.setActive(kAda, true, "test"); }};
  for (std::size_t how = 0; how < endings.size(); ++how) {
    for (const auto* moment : {"UPDATE sessions SET rotated_at", "INSERT INTO sessions", Between::kCommit}) {
      const auto login = second_.logIn(kAda, kPassword, kClient);
      between_.before(moment, [&] { EXPECT_EQ(refusalOf([&] { endings[how](login); }), ""); });
      std::optional<Login> renewed;
      const auto refused = refusalOf([&] { renewed = first_.refresh(login.refresh_token, kClient); });
      EXPECT_TRUE(between_.join());
      EXPECT_TRUE(refused.empty() || refused == "AUTH_REQUIRED") << refused;
      EXPECT_TRUE(second_.sessions(user.id).empty()) << how << " " << moment;
      if (renewed) {
        EXPECT_EQ(refusalOf([&] { second_.refresh(renewed->refresh_token, kClient); }), "AUTH_REQUIRED") << moment;
      }
    }
  }
  EXPECT_EQ(count("audit_log WHERE action = 'session.reuse'"), 0) << "nobody used a token twice";
}

TEST_P(AccountsAtOnce, AnAddressIsTakenOnce) {
  using Coming = std::function<std::string()>;
  int number = 0;
  const auto attempt = [&](const Coming& ours, const Coming& theirs) {
    std::string other;
    between_.before("INSERT INTO users", [&] { other = theirs(); });
    const auto mine = ours();
    EXPECT_TRUE(between_.join());
    EXPECT_EQ(mine + other, "CONFLICT");
    ++number;
    EXPECT_EQ(count("users"), number);
  };
  const auto email = [&] { return fmt::format("ada{}@example.org", number); };
  const auto enlist = [&](SelfService& self) {
    return [&] { return refusalOf([&] { self.enlist({email(), "Ada", kPassword}, kClient); }); };
  };
  const auto adding = [&](Accounts& accounts) {
    return [&] { return refusalOf([&] { accounts.add(email(), "Ada", Role::Member, kPassword, "test"); }); };
  };
  attempt(enlist(first_self_), enlist(second_self_));
  attempt(adding(first_), adding(second_));
  attempt(enlist(first_self_), adding(second_));
}

TEST_P(AccountsAtOnce, TheFirstAdministratorIsOne) {
  std::optional<Secret> second;
  between_.before("INSERT INTO one_time_tokens", [&] { second = second_self_.issueSetup(kDoer); });
  const auto first = first_self_.issueSetup(kDoer);
  EXPECT_TRUE(between_.join());
  const auto set_up = [&](SelfService& self, const Secret& token, const std::string& email) {
    return refusalOf([&] { self.setUp(token.reveal(), {email, "", kPassword}, kClient); });
  };
  std::string other;
  between_.before("INSERT INTO users", [&] { other = set_up(second_self_, *second, "eve@example.org"); });
  const auto ours = set_up(first_self_, first, kAda);
  if (!between_.join()) other = set_up(second_self_, *second, "eve@example.org");
  EXPECT_EQ(count("users WHERE role = 'admin'"), 1);
  EXPECT_EQ(int(ours.empty()) + int(other.empty()), 1) << ours << ", " << other;
}

TEST_P(AccountsAtOnce, AFactorThatIsGoneProvesNothing) {
  const auto user = add(Role::Admin);
  const std::vector<std::pair<const char*, std::function<Access(const std::string&)>>> proofs{
      {"UPDATE sessions SET mfa_at = $1",
       [&](const std::string& code) {
         const auto pending = second_.logIn(kAda, kPassword, kClient);
         const auto login = second_.proveSecondFactor(pending.pending_token, code.substr(0, code.find(' ')), kClient);
         const auto access = second_.readAccessToken(login.access_token);
         first_.stepUp(access, code.substr(code.find(' ') + 1), kClient);
         return access;
       }},
      {"UPDATE users SET last_login_at",
       [&](const std::string& code) {
         return second_.readAccessToken(
             first_.logIn(kAda, kPassword, kClient, code.substr(0, code.find(' '))).access_token);
       }},
      {"UPDATE users SET last_login_at",
       [&](const std::string& code) {
         const auto pending = second_.logIn(kAda, kPassword, kClient);
         return second_.readAccessToken(
             first_.proveSecondFactor(pending.pending_token, code.substr(0, code.find(' ')), kClient).access_token);
       }},
  };
  for (std::size_t how = 0; how < proofs.size(); ++how) {
    const auto codes = factorOf(user);
    std::optional<Access> access;
    between_.before(proofs[how].first, [&] { second_.secondFactor().remove(user.id, kDoer); });
    const auto refused = refusalOf([&] { access = proofs[how].second(codes[0].reveal() + " " + codes[1].reveal()); });
    EXPECT_TRUE(between_.join()) << how;
    EXPECT_EQ(count("sessions WHERE mfa_at IS NOT NULL"), 0) << how << " " << refused;
    second_.setPassword(kAda, kPassword, "test");
    database_->write([](database::Connection& connection) { connection.query("UPDATE users SET mfa_last_step = 0"); });
  }
}

TEST_P(AccountsAtOnce, ASessionThatHasEndedIsNotSteppedUp) {
  const auto user = add(Role::Admin);
  const auto codes = factorOf(user);
  const auto login = second_.logIn(kAda, kPassword, kClient, codes[0].reveal());
  const auto access = second_.readAccessToken(login.access_token);
  second_.logOut(access, kClient);
  EXPECT_EQ(refusalOf([&] { second_.stepUp(access, codes[1].reveal(), kClient); }), "AUTH_REQUIRED");
  EXPECT_EQ(audited("session.step_up"), 0);
}

TEST_P(AccountsAtOnce, AKeyIsRevokedOnceAndNobodyHasMoreThanTheyMay) {
  const auto user = add();
  const auto key = second_keys_.create(user.id, {.name = "one"}, kDoer);
  std::string theirs;
  between_.before("UPDATE api_keys SET revoked_at",
                  [&] { theirs = refusalOf([&] { second_keys_.revoke(key.key.id, {}, kDoer); }); });
  const auto ours = refusalOf([&] { first_keys_.revoke(key.key.id, {}, kDoer); });
  EXPECT_TRUE(between_.join());
  EXPECT_EQ(ours + theirs, "CONFLICT");
  EXPECT_EQ(audited("key.revoke"), 1);

  for (std::size_t i = 1; i < ApiKeys::kMost; ++i) second_keys_.create(user.id, {.name = "many"}, kDoer);
  between_.before("INSERT INTO api_keys",
                  [&] { theirs = refusalOf([&] { second_keys_.create(user.id, {.name = "last"}, kDoer); }); });
  const auto mine = refusalOf([&] { first_keys_.create(user.id, {.name = "last"}, kDoer); });
  EXPECT_TRUE(between_.join());
  EXPECT_EQ(mine + theirs, "CONFLICT");
  EXPECT_EQ(count("api_keys WHERE revoked_at IS NULL"), std::int64_t(ApiKeys::kMost));
}

TEST_P(AccountsAtOnce, WhoIsDeletedIsDeletedOnceAndGetsNothingMore) {
  const std::vector<std::pair<const char*, std::function<void(const User&)>>> others{
      {"DELETE FROM users", [&](const User&) { first_.remove(kAda, "test"); }},
      {"INSERT INTO api_keys", [&](const User& user) { first_keys_.create(user.id, {.name = "late"}, kDoer); }},
      {"INSERT INTO one_time_tokens", [&](const User&) { first_self_.issueReset(kAda, kDoer); }},
      {"INSERT INTO one_time_tokens",
       [&](const User& user) {
         Tickets(between_, keyring_, second_, second_keys_).issue({Caller::User, user.id, user.role, {}, {}});
       }},
      {"UPDATE users SET mfa_secret", [&](const User& user) { first_.secondFactor().remove(user.id, kDoer); }}};
  for (const auto& [moment, other] : others) {
    const auto user = add();
    std::string deleted;
    between_.before(moment, [&] { deleted = refusalOf([&] { second_.remove(kAda, "test"); }); });
    const auto ours = refusalOf([&, &other = other] { other(user); });
    EXPECT_TRUE(between_.join()) << moment;
    EXPECT_TRUE(ours.empty() || ours == "NOT_FOUND") << moment << ": " << ours;
    EXPECT_TRUE(deleted.empty() || deleted == "NOT_FOUND") << moment << ": " << deleted;
    EXPECT_EQ(count("users"), 0) << moment;
    EXPECT_EQ(count(fmt::format("audit_log WHERE action = 'user.delete' AND object = 'user:{}'", user.id)), 1)
        << moment;
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, AccountsAtOnce, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::accounts
