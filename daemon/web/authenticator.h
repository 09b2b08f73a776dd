// Credentials to a Principal: the one place that reads them. Thread-safe; reload() swaps the tokens of the
// configuration.
#pragma once

#include "common/accounts/tickets.h"
#include "common/base/reloadable.h"
#include "common/base/secret.h"
#include "daemon/web/request.h"

namespace aragora::web {

struct AuthenticatorOptions {
  Secret api_token;
  Secret metrics_token;
  bool anonymous = false;  // development on a loopback address
};

// What is looked up. All of them outlive whoever has them.
struct Credentials {
  accounts::Accounts& accounts;
  accounts::ApiKeys& api_keys;
  accounts::Tickets& tickets;
};

class Authenticator {
 public:
  Authenticator(AuthenticatorOptions options, Credentials credentials)
      : options_(std::move(options)), credentials_(credentials) {}

  void reload(AuthenticatorOptions options) { options_.set(std::move(options)); }

  // What can be said without waiting: also that what looks like an API key cannot be one. nullopt: the credentials are
  // an access token, an API key or a ticket, which resolve() looks up.
  std::optional<accounts::Principal> resolveNow(const Request& request) const;
  // May wait for the database. Throws Error(Unauthorized) for credentials that are not good.
  accounts::Principal resolve(const Request& request) const;
  // The same of what a WebSocket client sends after it connected.
  accounts::Principal authenticate(std::string_view credential) const;
  // Which of these are good no more: sessions and keys that ended, whoever ended them and where. One or two questions
  // to the database for some hundred of them.
  std::vector<bool> ended(const std::vector<accounts::Principal>& principals) const;

 private:
  std::optional<accounts::Principal> configured(std::string_view token) const;
  accounts::Principal lookUp(std::string_view token) const;

  Reloadable<AuthenticatorOptions> options_;
  Credentials credentials_;
};

// The bearer token of a request. A WebSocket cannot set headers in a browser: /ws also takes the subprotocol
// access_token.<token> and the query parameters `token` and `ticket`.
std::string_view credentialOf(const Request& request);

}  // namespace aragora::web
