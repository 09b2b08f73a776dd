// Credentials to a Principal: the one place that reads them. Thread-safe.
#pragma once

#include "common/accounts/accounts.h"
#include "common/base/secret.h"
#include "daemon/web/request.h"

namespace aragora::web {

struct AuthenticatorOptions {
  Secret api_token;
  Secret metrics_token;
  bool anonymous = false;  // development on a loopback address
};

class Authenticator {
 public:
  Authenticator(AuthenticatorOptions options, accounts::Accounts& accounts)
      : options_(std::move(options)), accounts_(accounts) {}

  // What can be said without waiting. nullopt: the credentials are an access token, whose session resolve() looks up.
  std::optional<accounts::Principal> resolveNow(const Request& request) const;
  // May wait for the database. Throws Error(Unauthorized) for an access token that is not good.
  accounts::Principal resolve(const Request& request) const;

 private:
  AuthenticatorOptions options_;
  accounts::Accounts& accounts_;
};

// The bearer token of a request. A WebSocket cannot set headers in a browser: /ws also takes the subprotocol
// access_token.<token> and the query parameter `token`.
std::string_view credentialOf(const Request& request);

}  // namespace aragora::web
