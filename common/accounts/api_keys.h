// The API keys of users: what programs show instead of logging in. A key does what its scopes and the role of its owner
// both allow, never more; it is shown once and stored as an HMAC digest under the deployment's key, so that who reads
// the database can neither use nor make one. Rotation makes a successor and lets the old one live a while. Everything
// that happens to a key is in the audit log. Thread-safe; every call uses the database.
#pragma once

#include <chrono>
#include <set>
#include <vector>

#include "common/accounts/api_key.h"
#include "common/accounts/users.h"

namespace aragora::accounts {

struct ApiKey {
  std::string id;
  std::string user;
  std::string email;
  std::string name;
  Scopes scopes;
  Micros created_at = 0;
  Micros expires_at = 0;
  std::optional<Micros> last_used_at;  // to the minute
  std::optional<Micros> revoked_at;
  std::string successor;  // the key that replaces it; empty for none

  bool live(Micros now) const { return !revoked_at && expires_at > now; }
};

struct NewApiKey {
  std::string name;
  Scopes scopes{Scope::Read, Scope::Write};
  std::chrono::hours lifetime{24 * 365};
};

class ApiKeys {
 public:
  static constexpr std::size_t kMost = 50;  // live ones of one user
  static constexpr std::chrono::hours kLongest{24 * 3650};
  static constexpr std::chrono::hours kLongestOverlap{24 * 30};

  // Both outlive it.
  ApiKeys(database::Database& database, const crypto::Keyring& keyring) : database_(database), keyring_(keyring) {}

  struct Made {
    ApiKey key;
    Secret text;
  };
  // Error(Validation | NotFound | Conflict).
  Made create(const std::string& user_id, const NewApiKey& wanted, const Doer& doer);
  // Newest first; of one user, or of all.
  std::vector<ApiKey> list(const std::optional<std::string>& user_id, const Page& page = {});
  std::int64_t count(const std::optional<std::string>& user_id);
  // With an owner it must be theirs. The successor has name, scopes and lifetime of the old key, which is good for
  // `overlap` more at most. Error(NotFound | Conflict).
  Made rotate(const std::string& id, const std::optional<std::string>& owner, std::chrono::hours overlap,
              const Doer& doer);
  void revoke(const std::string& id, const std::optional<std::string>& owner, const Doer& doer);

  struct Holder {
    User user;
    KeyUse use;
  };
  // Error(Unauthorized), with one text for whatever is wrong.
  Holder requireLive(const ApiKeyText& text);
  Holder requireLiveById(const std::string& id);  // who it was shown to before
  // Which of these are good no more.
  std::set<std::string> ended(const std::vector<std::string>& ids);

 private:
  Made insert(database::Connection& connection, const User& user, const NewApiKey& wanted, const ApiKeyText& text);
  ApiKey requireLiveRow(database::Connection& connection, const std::string& id,
                        const std::optional<std::string>& owner);
  void noteUse(const ApiKeyText& text, std::optional<Micros> last_used, bool old_digest);
  std::optional<std::string> digestOf(const ApiKeyText& text, const std::string& key_id) const;

  database::Database& database_;
  const crypto::Keyring& keyring_;
};

}  // namespace aragora::accounts
