// A change of the encryption key, as far as it has come: what still needs which key, in the database, the state
// directory, the backups here and elsewhere, and what is to be done next. Said once: `key status`, `key rotate`,
// `verify` and validate-env say nothing of their own. Reads only.
#pragma once

#include <chrono>
#include <set>

#include "common/storage/place.h"
#include "common/store/key_use.h"

namespace aragora::drill {

struct KeyPlaces {
  database::Target target;
  fs::path state_directory;
  storage::Place backups;
  std::optional<storage::Place> elsewhere;
  std::chrono::milliseconds patience{20'000};  // for the place elsewhere
};

struct KeyState {
  store::KeyUse here;       // by what and key id: database and state directory
  store::KeyUse backups;    // sealed or signed there, and the data in them
  store::KeyUse elsewhere;  // the same
  store::KeyUse before;     // signed under keys that may be gone: a key that was kept is enough
  std::string unknown;      // why it is not known what is elsewhere; then no key may go

  std::set<std::string> ids() const;
  // «3 second factors, 2 backups elsewhere»
  std::vector<std::string> needs(const std::string& key_id) const;
  bool mayGo(const std::string& key_id, const crypto::Keyring& keyring) const;
};
KeyState keyState(const KeyPlaces& places, const crypto::Keyring& keyring);

// What to type next; empty when no other key than the active one is named or needed.
std::string nextStep(const KeyState& state, const crypto::Keyring& keyring);

}  // namespace aragora::drill
