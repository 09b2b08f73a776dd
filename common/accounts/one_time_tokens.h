// Tokens that are good once and for a while: a WebSocket's ticket, the reset of a password, the first administrator.
// arat_<id>_<secret>, stored as an HMAC digest; whoever deletes the row has used it, so that of two one wins. Functions
// that take a connection run inside the caller's transaction. Thread-safe.
#pragma once

#include <chrono>

#include "common/accounts/users.h"

namespace aragora::accounts {

enum class TokenKind { Ticket, Reset, Setup };

inline constexpr std::string_view kOneTimePrefix = "arat_";
bool meantAsOneTimeToken(std::string_view text);

class OneTimeTokens {
 public:
  explicit OneTimeTokens(const crypto::Keyring& keyring) : keyring_(keyring) {}

  // `user` may be empty; those of a user go with them.
  Secret issue(database::Connection& connection, TokenKind kind, const std::string& user, const json::object& subject,
               std::chrono::seconds lifetime) const;
  struct Taken {
    std::string user;
    json::object subject;
  };
  // What it stands for, once. nullopt for whatever is wrong with it.
  std::optional<Taken> take(database::Connection& connection, TokenKind kind, std::string_view text) const;
  // The same, and it stays good.
  std::optional<Taken> look(database::Connection& connection, TokenKind kind, std::string_view text) const;

 private:
  const crypto::Keyring& keyring_;
};

}  // namespace aragora::accounts
