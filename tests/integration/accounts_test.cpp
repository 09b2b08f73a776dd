#include <gtest/gtest.h>

#include "common/accounts/accounts.h"
#include "common/audit/audit.h"
#include "common/base/error.h"
#include "common/migrate/migrator.h"
#include "tests/integration/services.h"

namespace aragora::accounts {
namespace {

using database::Engine;

const Secret kPassword("a password that is long enough");
const Client kClient{"192.0.2.1", "test", "request-1"};

struct Deployment {
  TestDatabase test;
  crypto::Keyring keyring{Secret(std::string(64, 'a'))};
  std::unique_ptr<database::Database> database;
  std::unique_ptr<Accounts> accounts;

  explicit Deployment(Engine engine) : test(engine) {
    migrate::Migrator(test.target()).up();
    database = database::openDatabase(test.target());
    accounts = std::make_unique<Accounts>(
        *database, keyring, AccountsOptions{.token_secret = Secret("a secret of thirty-two characters!")});
  }
  User add(const std::string& email = "ada@example.org") {
    return accounts->add(email, "Ada", accounts::Role::Member, kPassword, "test");
  }
  Access accessOf(const Login& login) const { return accounts->readAccessToken(login.access_token); }
  // The last entry of the audit log, whose chain must hold.
  std::string lastAction() const {
    const auto connection = database::connect(test.target());
    EXPECT_FALSE(audit::verifyChain(*connection, keyring).first_bad);
    const auto rows = connection->query("SELECT action, result FROM audit_log ORDER BY seq DESC LIMIT 1");
    return rows.empty() ? "" : rows[0].text(0) + " " + rows[0].text(1);
  }
};

template <typename Function>
Code codeOf(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return Code::Internal;
}

class AccountsTest : public testing::TestWithParam<Engine> {};

TEST_P(AccountsTest, ASessionIsOpenedUsedRenewedAndEnded) {
  Deployment deployment(GetParam());
  const auto user = deployment.add("  Ada@Example.ORG ");
  EXPECT_EQ(user.email, "ada@example.org");
  const auto login = deployment.accounts->logIn("ADA@example.org", kPassword, kClient);
  EXPECT_EQ(deployment.lastAction(), "session.login success");
  EXPECT_EQ(deployment.accounts->requireLive(deployment.accessOf(login)).id, user.id);
  const auto renewed = deployment.accounts->refresh(login.refresh_token, kClient);
  EXPECT_NE(renewed.refresh_token, login.refresh_token);
  EXPECT_EQ(deployment.accounts->requireLive(deployment.accessOf(renewed)).id, user.id);
  deployment.accounts->logOut(deployment.accessOf(renewed), kClient);
  EXPECT_EQ(deployment.lastAction(), "session.logout success");
  for (const auto* ended : {&login, &renewed}) {
    EXPECT_EQ(codeOf([&] { deployment.accounts->requireLive(deployment.accessOf(*ended)); }), Code::Unauthorized);
    EXPECT_EQ(codeOf([&] { deployment.accounts->refresh(ended->refresh_token, kClient); }), Code::Unauthorized);
  }
}

TEST_P(AccountsTest, ARefreshTokenThatComesBackEndsTheWholeSession) {
  Deployment deployment(GetParam());
  deployment.add();
  const auto login = deployment.accounts->logIn("ada@example.org", kPassword, kClient);
  const auto other = deployment.accounts->logIn("ada@example.org", kPassword, kClient);
  const auto second = deployment.accounts->refresh(login.refresh_token, kClient);
  const auto third = deployment.accounts->refresh(second.refresh_token, kClient);
  EXPECT_EQ(codeOf([&] { deployment.accounts->refresh(login.refresh_token, kClient); }), Code::Unauthorized);
  EXPECT_EQ(deployment.lastAction(), "session.reuse denied");
  EXPECT_EQ(codeOf([&] { deployment.accounts->refresh(third.refresh_token, kClient); }), Code::Unauthorized);
  EXPECT_EQ(codeOf([&] { deployment.accounts->requireLive(deployment.accessOf(third)); }), Code::Unauthorized);
  // The user's other session has nothing to do with it.
  EXPECT_NO_THROW(deployment.accounts->requireLive(deployment.accessOf(other)));
  EXPECT_NO_THROW(deployment.accounts->refresh(other.refresh_token, kClient));
}

// One of many that come at the same moment gets the next token; the others are somebody who has it too.
TEST_P(AccountsTest, OfConcurrentRefreshesOneWins) {
  Deployment deployment(GetParam());
  deployment.add();
  const auto login = deployment.accounts->logIn("ada@example.org", kPassword, kClient);
  std::atomic<int> won{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      try {
        deployment.accounts->refresh(login.refresh_token, kClient);
        ++won;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), Code::Unauthorized) << error.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(codeOf([&] { deployment.accounts->requireLive(deployment.accessOf(login)); }), Code::Unauthorized);
}

TEST_P(AccountsTest, EveryWrongLoginHasTheSameAnswerAndIsRecorded) {
  Deployment deployment(GetParam());
  deployment.add();
  deployment.add("off@example.org");
  deployment.accounts->setActive("off@example.org", false, "test");
  std::set<std::string> answers;
  const std::vector<std::pair<std::string, Secret>> wrong{{"ada@example.org", Secret("not her password, but long")},
                                                          {"nobody@example.org", kPassword},
                                                          {"off@example.org", kPassword},
                                                          {"ada@example.org", Secret(std::string(5000, 'x'))}};
  for (const auto& [email, password] : wrong) {
    try {
      deployment.accounts->logIn(email, password, kClient);
      ADD_FAILURE() << email;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Unauthorized);
      answers.insert(error.what());
    }
    EXPECT_EQ(deployment.lastAction(), "session.login failure");
  }
  EXPECT_EQ(answers.size(), 1U);
  for (const auto* token : {"", "rt_", "rt_01ARZ3NDEKTSV4RRFFQ69G5FAV_x", "x"})
    EXPECT_EQ(codeOf([&] { deployment.accounts->refresh(token, kClient); }), Code::Unauthorized) << token;
}

TEST_P(AccountsTest, ANewPasswordSwitchingOffAndLoggingOutEverywhereEndEverySession) {
  Deployment deployment(GetParam());
  deployment.add();
  const Secret changed("another password, also long");
  const auto end = [&](int how, const Access& access) {
    if (how == 0) deployment.accounts->setPassword("ada@example.org", changed, "test");
    if (how == 1) deployment.accounts->setActive("ada@example.org", false, "test");
    if (how == 1) deployment.accounts->setActive("ada@example.org", true, "test");
    if (how == 2) {
      EXPECT_EQ(deployment.accounts->logOutEverywhere(access, kClient), 2);
    }
  };
  for (int how = 0; how < 3; ++how) {
    const auto& password = how == 0 ? kPassword : changed;
    const auto first = deployment.accounts->logIn("ada@example.org", password, kClient);
    const auto second = deployment.accounts->logIn("ada@example.org", password, kClient);
    const auto renewed = deployment.accounts->refresh(first.refresh_token, kClient);
    end(how, deployment.accessOf(second));
    for (const auto* login : {&second, &renewed}) {
      EXPECT_EQ(codeOf([&] { deployment.accounts->requireLive(deployment.accessOf(*login)); }), Code::Unauthorized);
      EXPECT_EQ(codeOf([&] { deployment.accounts->refresh(login->refresh_token, kClient); }), Code::Unauthorized);
    }
  }
}

TEST_P(AccountsTest, WhatWillNotDoIsNamed) {
  Deployment deployment(GetParam());
  deployment.add();
  const auto add = [&](const std::string& email, const std::string& role, const std::string& password) {
    return codeOf([&] { deployment.accounts->add(email, "", accounts::requireRole(role), Secret(password), "test"); });
  };
  EXPECT_EQ(add("ADA@example.org", "member", kPassword.reveal()), Code::Conflict);
  EXPECT_EQ(add("bob@example.org", "root", kPassword.reveal()), Code::Validation);
  for (const auto* bad : {"", "bob", "@example.org", "bob@", "a@b@c", "bob @example.org", "bob@exa\nmple.org"})
    EXPECT_EQ(add(bad, "member", kPassword.reveal()), Code::Validation) << bad;
  for (const auto* bad : {"", "short", "aaaaaaaaaaaaaaaaaaaaaa", "bob-is-my-name-1"})
    EXPECT_EQ(add("bob@example.org", "member", bad), Code::Validation) << bad;
  EXPECT_EQ(codeOf([&] { deployment.accounts->setPassword("who@example.org", kPassword, "test"); }), Code::NotFound);
  EXPECT_EQ(deployment.accounts->list().size(), 1U);
}

TEST_P(AccountsTest, NothingStoredOpensASession) {
  Deployment deployment(GetParam());
  deployment.add();
  const auto login = deployment.accounts->logIn("ada@example.org", kPassword, kClient);
  const auto connection = database::connect(deployment.test.target());
  for (const auto* sql : {"SELECT password_hash FROM users", "SELECT refresh_digest FROM sessions"}) {
    const auto stored = connection->query(sql)[0].text(0);
    EXPECT_EQ(stored.find(kPassword.reveal()), std::string::npos);
    EXPECT_EQ(login.refresh_token.find(stored), std::string::npos);
    EXPECT_EQ(stored.find(login.refresh_token), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, AccountsTest, testing::Values(Engine::Sqlite, Engine::Postgres), engineName);

}  // namespace
}  // namespace aragora::accounts
