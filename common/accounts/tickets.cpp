#include "common/accounts/tickets.h"

#include "common/base/error.h"

namespace aragora::accounts {

Secret Tickets::issue(const Principal& principal) {
  json::object subject{{"operator", principal.caller == Caller::Operator}};
  if (principal.access)
    subject["session"] = json::object{{"id", principal.access->session},
                                      {"version", principal.access->token_version},
                                      {"expires_at", principal.access->expires_at}};
  if (principal.key) subject["key"] = principal.key->id;
  return database_.writing([&](database::Connection& connection) {
    if (!principal.user.empty()) lockUserById(connection, principal.user);
    return tokens_.issue(connection, TokenKind::Ticket, principal.user, subject, kLifetime);
  });
}

Principal Tickets::redeem(std::string_view ticket) {
  const auto taken = database_.writing(
      [&](database::Connection& connection) { return tokens_.take(connection, TokenKind::Ticket, ticket); });
  if (!taken) throw Error(Code::Unauthorized, "the ticket is not valid", "ask for another one: POST /api/ws-ticket");
  if (const auto key = jsonText(taken->subject, "key")) {
    auto holder = keys_.requireLiveById(*key);
    return {Caller::User, holder.user.id, holder.user.role, {}, std::move(holder.use)};
  }
  if (const auto* session = jsonObject(taken->subject, "session")) {
    Access access{taken->user, jsonTextOr(*session, "id", ""), jsonIntegerOr(*session, "version", 0),
                  jsonIntegerOr(*session, "expires_at", 0)};
    const auto live = accounts_.requireSession(access);
    return {Caller::User, live.user.id, live.user.role, std::move(access), {}, live.stepped_up_at};
  }
  const auto* const by_operator = taken->subject.if_contains("operator");
  const bool trusted = by_operator != nullptr && by_operator->is_bool() && by_operator->get_bool();
  return {.caller = trusted ? Caller::Operator : Caller::Anonymous};
}

}  // namespace aragora::accounts
