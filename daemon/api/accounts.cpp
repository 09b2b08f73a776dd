#include "daemon/api/account_requests.h"
#include "daemon/web/errors.h"

namespace aragora::api {

namespace {
web::LimitKey pairKey(const std::string& email, const std::string& address) {
  const auto network = web::networkKey(address);
  return web::digestKey({email, {reinterpret_cast<const char*>(network.words.data()), sizeof network.words}});
}

// Guessing is slow from one network and, over all of them, for one account. Counted before the password is looked at,
// so that guesses at the same moment do not pass together, and given back when it was right. An account cannot be
// locked by strangers: a right password from a network that has logged in to it before, or after an administrator has
// unlocked it, is not held to these.
web::LimitsOf loginLimits(const std::string& email, const std::string& address, std::int64_t per_minute) {
  constexpr std::int64_t kNetworks = 20;
  using web::Bucket;
  return {{Bucket::LoginPair, {per_minute}, pairKey(email, address)},
          {Bucket::LoginNetwork, {per_minute}, web::networkKey(address)},
          {Bucket::LoginAccount, {per_minute * kNetworks}, web::digestKey({email})}};
}

// What holds for those, too: a network that logged in once may guess no more than so often, and only itself is held.
web::LimitsOf hourlyLimit(const web::LimitKey& pair, std::int64_t per_minute) {
  constexpr std::int64_t kMinutes = 6;
  return {{web::Bucket::LoginHourly, {per_minute * kMinutes, std::chrono::hours(1)}, pair}};
}

bool hasLoggedInFrom(const std::string& email, const std::string& address, accounts::Accounts& accounts) {
  const auto known = accounts.addressesOf(email);
  return std::any_of(known.begin(), known.end(),
                     [&](const auto& other) { return web::networkKey(other) == web::networkKey(address); });
}

// One try at a password: what it counted, and gives back unless it was a guess.
class Try {
 public:
  Try(const Services& services, const std::string& email, const std::string& address) : limits_(services.limits) {
    const auto per_minute = services.options.logins_per_minute;
    const auto hourly = hourlyLimit(pairKey(email, address), per_minute);
    if (!take(hourly)) {
      // An unlocked account has as many again.
      const auto unlocked = services.accounts.unlockedLately(email);
      if (!unlocked) return;
      const auto again = web::digestKey({email, web::textOf(pairKey(email, address)), fmt::format("{}", *unlocked)});
      if (!take(hourlyLimit(again, per_minute))) return;
    }
    strictly_ = take(loginLimits(email, address, per_minute));
    allowed_ = strictly_ || hasLoggedInFrom(email, address, services.accounts) ||
               services.accounts.unlockedLately(email).has_value();
    if (!allowed_) giveBack();
  }
  bool allowed() const { return allowed_; }
  bool strictly() const { return strictly_; }  // within every limit
  const web::Standings& standings() const { return standings_; }
  void giveBack() {
    for (const auto& taken : std::exchange(taken_, {})) limits_.countWaiting(taken, web::Counting::GiveBack);
  }

 private:
  bool take(const web::LimitsOf& limits) {
    standings_ = limits_.countWaiting(limits, web::Counting::Take);
    if (!web::admitted(standings_)) return false;
    taken_.push_back(limits);
    return true;
  }
  web::Limits& limits_;
  std::vector<web::LimitsOf> taken_;
  web::Standings standings_;  // of the last that was asked
  bool strictly_ = false;
  bool allowed_ = false;
};

web::Response logIn(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  const auto email = accounts::normalisedEmail(requireText(body, "email"));
  const Secret password(requireText(body, "password"));
  // Both SDKs can send it at once.
  auto code = optionalText(body, "mfa_code");
  if (const auto other = optionalText(body, "totp_code"); code.empty()) code = other;
  Try one(services, email, request.client_address);
  const auto tooMany = [&] { return web::rateLimited(one.standings(), "failed logins", request.request_id); };
  if (!one.allowed()) return tooMany();
  try {
    auto response = renderLogin(services.accounts.logIn(email, password, clientOf(request), code), request);
    one.giveBack();
    return response;
  } catch (const Error& error) {
    const bool wrong = error.code() == Code::Unauthorized;
    if (!wrong) one.giveBack();
    if (wrong && !one.strictly()) return tooMany();
    throw;
  }
}

web::Response refresh(const web::Request& request, const Services& services) {
  return renderLogin(services.accounts.refresh(requireText(request.jsonBody(), "refresh_token"), clientOf(request)),
                     request);
}

web::Response logOut(const web::Request& request, const Services& services) {
  services.accounts.logOut(accessOf(request), clientOf(request));
  return web::jsonResponse(json::object{{"logged_out", true}});
}

web::Response logOutEverywhere(const web::Request& request, const Services& services) {
  const auto ended = services.accounts.logOutEverywhere(accessOf(request), clientOf(request));
  return web::jsonResponse(json::object{{"logged_out", true}, {"sessions_revoked", ended}});
}

web::Response me(const web::Request& request, const Services& services) {
  const auto user = services.database.reading(
      [&](database::Connection& connection) { return accounts::requireUserById(connection, request.principal.user); });
  auto body = renderUser(user);
  body["user"] = renderUser(user);
  return web::jsonResponse(body);
}

web::Response sessions(const web::Request& request, const Services& services) {
  const auto page = pageOf(request);
  const auto& access = request.principal.access;
  return renderSessions(services.accounts.sessions(request.principal.user, page),
                        access ? std::string_view(access->session) : std::string_view(), page,
                        services.accounts.countSessions(request.principal.user));
}

web::Response endSession(const web::Request& request, const Services& services) {
  const auto& session = request.parameters.at("id");
  services.accounts.endSession(request.principal.user, session, doerOf(request));
  return web::jsonResponse(json::object{{"success", true}, {"session_id", session}, {"message", "it has ended"}});
}
}  // namespace

void addAccountRoutes(web::Router& router, const Services& services) {
  const auto route = [&services](web::Response (*handler)(const web::Request&, const Services&)) {
    return [&services, handler](const web::Request& request) { return handler(request, services); };
  };
  using accounts::Permission;
  router.add(
      {.method = "POST", .pattern = "/api/auth/login", .handler = route(logIn), .body_limit = kCredentialsBodyLimit});
  router.add({.method = "POST",
              .pattern = "/api/auth/refresh",
              .handler = route(refresh),
              .body_limit = kCredentialsBodyLimit,
              .strictly = web::Bucket::Refresh,
              .takes_credentials = true});
  addRoute(router, services, "POST", "/api/auth/logout", Permission::OwnCredentials, logOut);
  addRoute(router, services, "POST", "/api/auth/logout-all", Permission::OwnCredentials, logOutEverywhere);
  for (const auto* path : {"/api/auth/me", "/api/auth/profile"})
    addRoute(router, services, "GET", path, Permission::OwnAccount, me);
  for (const auto* path : {"/api/auth/sessions", "/api/auth/sessions/active"})
    addList(router, services, path, Permission::OwnAccount, sessions);
  addRoute(router, services, "DELETE", "/api/auth/sessions/{id}", Permission::OwnCredentials, endSession);
}

}  // namespace aragora::api
