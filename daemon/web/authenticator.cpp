#include "daemon/web/authenticator.h"

#include "common/base/error.h"
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
  for (const auto* name : {"token", "ticket"}) {
    const auto found = request.query.find(name);
    if (found != request.query.end()) return found->second;
  }
  return {};
}

std::optional<Principal> Authenticator::configured(std::string_view token) const {
  const auto options = options_.get();
  if (equal(token, options->api_token)) return Principal{.caller = Caller::Operator};
  if (equal(token, options->metrics_token)) return Principal{.caller = Caller::Monitor};
  return std::nullopt;
}

std::optional<Principal> Authenticator::resolveNow(const Request& request) const {
  const auto token = credentialOf(request);
  if (auto known = configured(token)) return known;
  const bool ticket = accounts::meantAsOneTimeToken(token);
  if (ticket && request.path == "/ws") return std::nullopt;
  if (accounts::meantAsApiKey(token) && accounts::parseApiKey(token)) return std::nullopt;
  if (ticket || accounts::meantAsApiKey(token)) return Principal{};
  if (accounts::AccessTokens::looksLikeOne(token)) return std::nullopt;
  const auto options = options_.get();
  if (options->anonymous && options->api_token.empty()) return Principal{.caller = Caller::Anonymous};
  if (options->metrics_token.empty() && token.empty() && fromLoopback(request))
    return Principal{.caller = Caller::Monitor};
  return Principal{};
}

Principal Authenticator::resolve(const Request& request) const {
  if (auto known = resolveNow(request)) return std::move(*known);
  return lookUp(credentialOf(request));
}

Principal Authenticator::authenticate(std::string_view credential) const {
  if (auto known = configured(credential)) return std::move(*known);
  return lookUp(credential);
}

Principal Authenticator::lookUp(std::string_view token) const {
  if (accounts::meantAsOneTimeToken(token)) return credentials_.tickets.redeem(token);
  if (accounts::meantAsApiKey(token)) {
    const auto key = accounts::parseApiKey(token);
    if (!key) throw Error(Code::Unauthorized, "the API key is not valid");
    auto holder = credentials_.api_keys.requireLive(*key);
    return {Caller::User, holder.user.id, holder.user.role, {}, std::move(holder.use)};
  }
  auto access = credentials_.accounts.readAccessToken(token);
  const auto live = credentials_.accounts.requireSession(access);
  return {Caller::User, live.user.id, live.user.role, std::move(access), {}, live.stepped_up_at};
}

std::vector<bool> Authenticator::ended(const std::vector<Principal>& principals) const {
  std::vector<accounts::Access> sessions;
  std::vector<std::string> keys;
  for (const auto& principal : principals) {
    if (principal.access) sessions.push_back(*principal.access);
    if (principal.key) keys.push_back(principal.key->id);
  }
  std::set<std::pair<std::string, std::int64_t>> ended_sessions;
  for (const auto& access : credentials_.accounts.ended(sessions))
    ended_sessions.emplace(access.session, access.token_version);
  const auto ended_keys = credentials_.api_keys.ended(keys);
  std::vector<bool> result;
  result.reserve(principals.size());
  for (const auto& one : principals)
    result.push_back((one.access && ended_sessions.count({one.access->session, one.access->token_version}) > 0) ||
                     (one.key && ended_keys.count(one.key->id) > 0));
  return result;
}

}  // namespace aragora::web
