#include "daemon/ws/handshake.h"

#include "common/base/text.h"
#include "daemon/web/errors.h"

namespace aragora::ws {

namespace {
constexpr std::string_view kVersion = "13";  // RFC 6455 section 4.1

bool holdsToken(std::string_view list, std::string_view token) {
  for (const auto& part : split(list, ',')) {
    if (lower(trim(part)) == token) return true;
  }
  return false;
}
}  // namespace

bool asksForWebSocket(const web::Request& request) {
  return holdsToken(request.list("connection"), "upgrade") && holdsToken(request.list("upgrade"), "websocket") &&
         request.header("sec-websocket-version") == kVersion;
}

web::Response upgradeRequired(const web::Request& request) {
  auto response = web::refusalResponse({426, "this is a WebSocket: ask for an upgrade (RFC 6455)"}, request.request_id);
  response.headers.emplace_back("Upgrade", "websocket");
  response.headers.emplace_back("Sec-WebSocket-Version", kVersion);
  return response;
}

void prepare(edge::Upgraded& upgraded) {
  upgraded.request.set(boost::beast::http::field::connection, "Upgrade");
  upgraded.request.set(boost::beast::http::field::upgrade, "websocket");
}

}  // namespace aragora::ws
