#include <set>

#include "common/accounts/accounts.h"
#include "common/base/error.h"
#include "common/base/text.h"

// Of accounts: where somebody is logged in, and how that ends.
namespace aragora::accounts {

namespace {
constexpr std::string_view kLiveSessions =
    "FROM sessions s JOIN sessions f ON f.id = s.family WHERE s.user_id = $1 AND s.revoked_at IS NULL AND s.rotated_at "
    "IS NULL AND s.expires_at > $2";
}  // namespace

LiveSession Accounts::requireSession(const Access& access) {
  const auto rows = database_.query(
      fmt::format("SELECT {}, s.mfa_at FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND "
                  "s.revoked_at IS NULL AND s.expires_at > $2",
                  kUserColumns),
      {access.session, nowMicros()});
  if (!rows.empty()) {
    auto user = userOf(rows[0]);
    if (user.id == access.user && user.active && user.token_version == access.token_version)
      return {std::move(user), rows[0].optionalInteger(kUserWidth)};
  }
  refuseSession();
}

std::vector<Access> Accounts::ended(const std::vector<Access>& sessions) {
  std::set<std::pair<std::string, std::int64_t>> live;
  constexpr std::size_t kBatch = 200;
  for (std::size_t begin = 0; begin < sessions.size(); begin += kBatch) {
    database::Values values{nowMicros()};
    std::string places;
    for (std::size_t i = begin; i < std::min(sessions.size(), begin + kBatch); ++i) {
      values.emplace_back(sessions[i].session);
      places += fmt::format("{}${}", places.empty() ? "" : ", ", values.size());
    }
    for (const auto& row : database_.query(
             fmt::format("SELECT s.id, u.token_version FROM sessions s JOIN users u ON u.id = s.user_id WHERE "
                         "s.revoked_at IS NULL AND s.expires_at > $1 AND u.is_active = 1 AND s.id IN ({})",
                         places),
             values))
      live.emplace(row.text(0), row.integer(1));
  }
  std::vector<Access> result;
  std::copy_if(sessions.begin(), sessions.end(), std::back_inserter(result), [&](const Access& access) {
    return live.count({access.session, access.token_version}) == 0;
  });
  return result;
}

std::vector<Session> Accounts::sessions(const std::string& user_id, const Page& page) {
  std::vector<Session> sessions;
  for (const auto& row : database_.query(
           fmt::format("SELECT s.family, s.user_id, s.ip_address, s.device, f.created_at, s.last_used_at, s.expires_at "
                       "{} ORDER BY s.last_used_at DESC, s.id DESC LIMIT $3 OFFSET $4",
                       kLiveSessions),
           {user_id, nowMicros(), page.limit, page.offset}))
    sessions.push_back(
        {row.text(0), row.text(1), row.text(2), row.text(3), row.integer(4), row.integer(5), row.integer(6)});
  return sessions;
}

std::int64_t Accounts::endSessionsOf(const std::string& user_id, const Doer& doer) {
  return database_.writing([&](database::Connection& connection) {
    requireUserById(connection, user_id);
    const auto ended = endSessions(connection, user_id);
    accounts::record(connection, keyring_, doer, "session.revoke_all", user_id, "success", {{"sessions", ended}});
    return ended;
  });
}

std::int64_t Accounts::countSessions(const std::string& user_id) {
  return database_.query(fmt::format("SELECT count(*) {}", kLiveSessions), {user_id, nowMicros()})[0].integer(0);
}

void Accounts::endSession(const std::string& user_id, const std::string& session, const Doer& doer) {
  database_.write([&](database::Connection& connection) {
    if (!accounts::endSession(connection, user_id, session))
      throw Error(Code::NotFound, fmt::format("there is no session {} that lives", printable(session, 40)));
    accounts::record(connection, keyring_, doer, "session.revoke", user_id, "success", {{"session", session}});
  });
}

void Accounts::logOut(const Access& access, const Client& client) {
  database_.write([&](database::Connection& connection) {
    accounts::endSession(connection, access.user, access.session);
    record(connection, fmt::format("user:{}", access.user), "session.logout", access.user, client);
  });
}

std::int64_t Accounts::logOutEverywhere(const Access& access, const Client& client) {
  return database_.writing([&](database::Connection& connection) {
    connection.query("UPDATE users SET token_version = token_version + 1, updated_at = $1 WHERE id = $2",
                     {nowMicros(), access.user});
    const auto ended = endSessions(connection, access.user);
    record(connection, fmt::format("user:{}", access.user), "session.logout_all", access.user, client);
    return ended;
  });
}

}  // namespace aragora::accounts
