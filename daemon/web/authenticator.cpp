#include "daemon/web/authenticator.h"

#include "common/base/text.h"
#include "common/net/address.h"

namespace aragora::web {

using accounts::Caller;
using accounts::Principal;

namespace {
constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kSubprotocol = "access_token.";

bool fromLoopback(const Request& request) {
  static const std::vector<net::Block> loopback{*net::Block::parse("127.0.0.0/8"), *net::Block::parse("::1")};
  return net::anyContains(loopback, request.client_address);
}

bool equal(std::string_view given, const Secret& secret) {
  return !secret.empty() && Secret(std::string(given)) == secret;
}
}  // namespace

std::string_view credentialOf(const Request& request) {
  const auto authorization = request.header("authorization");
  if (startsWith(authorization, kBearer)) return authorization.substr(kBearer.size());
  if (request.path != "/ws") return {};
  for (auto rest : request.lines("sec-websocket-protocol")) {
    while (!rest.empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      const auto protocol = trim(rest.substr(0, comma));
      if (startsWith(protocol, kSubprotocol)) return protocol.substr(kSubprotocol.size());
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  const auto found = request.query.find("token");
  return found == request.query.end() ? std::string_view() : std::string_view(found->second);
}

std::optional<Principal> Authenticator::resolveNow(const Request& request) const {
  const auto token = credentialOf(request);
  if (equal(token, options_.api_token)) return Principal{.caller = Caller::Operator};
  if (equal(token, options_.metrics_token)) return Principal{.caller = Caller::Monitor};
  if (accounts::AccessTokens::looksLikeOne(token)) return std::nullopt;
  if (options_.anonymous && options_.api_token.empty()) return Principal{.caller = Caller::Anonymous};
  if (options_.metrics_token.empty() && token.empty() && fromLoopback(request))
    return Principal{.caller = Caller::Monitor};
  return Principal{};
}

Principal Authenticator::resolve(const Request& request) const {
  if (auto known = resolveNow(request)) return std::move(*known);
  auto access = accounts_.readAccessToken(credentialOf(request));
  const auto user = accounts_.requireLive(access);
  return {Caller::User, user.id, user.role, std::move(access)};
}

}  // namespace aragora::web
