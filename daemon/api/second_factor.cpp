#include "common/base/text.h"
#include "daemon/api/account_requests.h"
#include "daemon/web/errors.h"

namespace aragora::api {

namespace {
using accounts::Permission;

json::array texts(const std::vector<Secret>& codes) {
  json::array array;
  for (const auto& code : codes) array.emplace_back(code.reveal());
  return array;
}

web::Response renderCodes(const std::vector<Secret>& codes, std::string_view message) {
  return web::jsonResponse(json::object{{"message", message},
                                        {"backup_codes", texts(codes)},
                                        {"warning", "each is good once, and they are shown this once"}});
}

std::string codeOf(const web::Request& request) { return requireText(request.jsonBody(), "code"); }

web::Response setUp(const web::Request& request, const Services& services) {
  if (auto refusal = refusalWithoutProof(request, services)) return std::move(*refusal);
  const auto enrolment = services.accounts.secondFactor().enrol(request.principal.user, doerOf(request));
  return web::jsonResponse(
      json::object{{"secret", enrolment.secret.reveal()},
                   {"provisioning_uri", enrolment.uri.reveal()},
                   {"message", fmt::format("send a code of it to {}/api/auth/mfa/enable", request.base_path)}});
}

web::Response enable(const web::Request& request, const Services& services) {
  const auto codes = services.accounts.secondFactor().confirm(request.principal.user, codeOf(request), doerOf(request));
  return renderCodes(codes, "the second factor is on");
}

web::Response stepUp(const web::Request& request, const Services& services) {
  services.accounts.stepUp(accessOf(request), codeOf(request), clientOf(request));
  constexpr std::int64_t kSeconds = 900;
  return web::jsonResponse(json::object{{"message", "the second factor was proved"},
                                        {"expires_in", kSeconds},
                                        {"expires_at", toIso(nowMicros() + kSeconds * 1'000'000)}});
}

web::Response disable(const web::Request& request, const Services& services) {
  services.accounts.secondFactor().remove(request.principal.user, doerOf(request), codeOf(request));
  return web::jsonResponse(json::object{{"message", "the second factor is off"}});
}

web::Response renewCodes(const web::Request& request, const Services& services) {
  return renderCodes(
      services.accounts.secondFactor().renewCodes(request.principal.user, doerOf(request), codeOf(request)),
      "those of before are good no more");
}

web::Response verify(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  return renderLogin(services.accounts.proveSecondFactor(requireText(body, "pending_token"), requireText(body, "code"),
                                                         clientOf(request)),
                     request);
}

// A code counts as a guess from this network until it was right. For one account the database counts them, too.
web::Handler guessed(const Services& services, RouteHandler handler) {
  return [&services, handler](const web::Request& request) {
    constexpr std::int64_t kAccounts = 4;
    const web::LimitsOf limits{{web::Bucket::SecondFactor,
                                {services.options.logins_per_minute * kAccounts},
                                web::networkKey(request.client_address)}};
    const auto standings = services.limits.countWaiting(limits, web::Counting::Take);
    if (!web::admitted(standings)) return web::rateLimited(standings, "codes", request.request_id);
    const auto giveBack = [&] { services.limits.countWaiting(limits, web::Counting::GiveBack); };
    try {
      auto response = handler(request, services);
      giveBack();
      return response;
    } catch (const Error& error) {
      if (error.code() != Code::Unauthorized) giveBack();
      throw;
    }
  };
}
}  // namespace

void addSecondFactorRoutes(web::Router& router, const Services& services) {
  const auto own = [&](const char* method, const char* path, RouteHandler handler) {
    router.add({.method = method,
                .pattern = path,
                .permission = Permission::OwnCredentials,
                .handler = guessed(services, handler),
                .body_limit = kCredentialsBodyLimit});
  };
  addRoute(router, services, "POST", "/api/auth/mfa/setup", Permission::OwnCredentials, setUp);
  own("POST", "/api/auth/mfa/enable", enable);
  own("POST", "/api/auth/mfa/step-up", stepUp);
  own("POST", "/api/auth/mfa/disable", disable);
  own("POST", "/api/auth/mfa/backup-codes", renewCodes);
  own("DELETE", "/api/auth/mfa", disable);
  router.add({.method = "POST",
              .pattern = "/api/auth/mfa/verify",
              .handler = guessed(services, verify),
              .body_limit = kCredentialsBodyLimit,
              .takes_credentials = true});
}

}  // namespace aragora::api
