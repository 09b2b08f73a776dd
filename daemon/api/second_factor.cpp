#include "common/base/text.h"
#include "daemon/api/account_requests.h"

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
  const auto enrolment = services.accounts.secondFactor().enrol(request.principal.user, doerOf(request));
  return web::jsonResponse(json::object{{"secret", enrolment.secret.reveal()},
                                        {"provisioning_uri", enrolment.uri.reveal()},
                                        {"message", "send a code of it to /api/auth/mfa/enable"}});
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
  auto& factor = services.accounts.secondFactor();
  factor.require(request.principal.user, codeOf(request), doerOf(request));
  factor.remove(request.principal.user, doerOf(request));
  return web::jsonResponse(json::object{{"message", "the second factor is off"}});
}

web::Response renewCodes(const web::Request& request, const Services& services) {
  auto& factor = services.accounts.secondFactor();
  factor.require(request.principal.user, codeOf(request), doerOf(request));
  return renderCodes(factor.renewCodes(request.principal.user, doerOf(request)), "those of before are good no more");
}

web::Response verify(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  return renderLogin(services.accounts.proveSecondFactor(requireText(body, "pending_token"), requireText(body, "code"),
                                                         clientOf(request)));
}
}  // namespace

void addSecondFactorRoutes(web::Router& router, const Services& services) {
  const auto own = [&](const char* path, RouteHandler handler) {
    addRoute(router, services, "POST", path, Permission::OwnCredentials, handler);
  };
  own("/api/auth/mfa/setup", setUp);
  own("/api/auth/mfa/enable", enable);
  own("/api/auth/mfa/step-up", stepUp);
  own("/api/auth/mfa/disable", disable);
  own("/api/auth/mfa/backup-codes", renewCodes);
  addRoute(router, services, "DELETE", "/api/auth/mfa", Permission::OwnCredentials, disable);
  router.add({.method = "POST",
              .pattern = "/api/auth/mfa/verify",
              .handler = [&services](const web::Request& request) { return verify(request, services); },
              .body_limit = kCredentialsBodyLimit,
              .takes_credentials = true});
}

}  // namespace aragora::api
