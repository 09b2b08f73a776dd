// Access tokens: JSON Web Tokens (RFC 7519) in compact form, HS256 and nothing else (RFC 8725 section 3.1), of type
// at+jwt (RFC 9068). A token says which session of which user it belongs to; whether that session still lives is the
// database's word (accounts.h). Immutable, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

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
  AccessTokens(Secret secret, std::chrono::seconds lifetime);
  // `access.expires_at` is set here.
  std::string issue(Access& access, std::int64_t now) const;
  // Throws Error(Unauthorized), with one text for whatever is wrong. 30 s of difference between clocks are forgiven.
  Access read(std::string_view token, std::int64_t now) const;
  // Whether it has the form of one at all.
  static bool looksLikeOne(std::string_view token);

 private:
  std::string signature(std::string_view signed_part) const;
  Secret secret_;
  std::chrono::seconds lifetime_;
  std::string key_id_;
};

}  // namespace aragora::accounts
