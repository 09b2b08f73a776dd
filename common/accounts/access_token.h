// Access tokens: JSON Web Tokens (RFC 7519) in compact form, HS256 and nothing else (RFC 8725 section 3.1), of type
// at+jwt (RFC 9068). A token says which session of which user it belongs to; whether that session still lives is the
// database's word (accounts.h). Tokens of the secret before last are read until they expire, so that a secret can be
// changed without ending a session. Immutable, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/json.h"
#include "common/base/secret.h"

namespace aragora::accounts {

struct Access {
  std::string user;
  std::string session;
  std::int64_t token_version = 0;
  std::int64_t expires_at = 0;  // seconds since the Unix epoch
};

class AccessTokens {
 public:
  // `previous`, where there is one, signs nothing any more.
  AccessTokens(Secret secret, std::chrono::seconds lifetime, Secret previous = {});
  // `access.expires_at` is set here.
  std::string issue(Access& access, std::int64_t now) const;
  // Throws Error(Unauthorized), with one text for whatever is wrong. 30 s of difference between clocks are forgiven.
  Access read(std::string_view token, std::int64_t now) const;
  // What stands between a right password and a second factor: a token of another type, which opens nothing else. Of an
  // Access it has the user and the version.
  std::string issuePending(const Access& access, std::int64_t now) const;
  Access readPending(std::string_view token, std::int64_t now) const;
  // Whether it has the form of one at all.
  static bool looksLikeOne(std::string_view token);

 private:
  struct Key {
    Secret secret;
    std::string id;
  };
  struct Kind;
  std::string sign(const Kind& kind, json::object claims) const;
  json::object open(const Kind& kind, std::string_view token, std::int64_t now) const;
  static Key keyOf(Secret secret);
  std::vector<Key> keys_;  // the first signs
  std::chrono::seconds lifetime_;
};

}  // namespace aragora::accounts
