// What a step of the verification says: shared by its files, of no use outside.
#pragma once

#include <string>

#include "common/base/error.h"
#include "common/crypto/keyring.h"

namespace aragora::verify {

struct Result {
  bool ok = true;
  std::string message;
  std::string hint = {};
  bool damage = true;
  bool data_missing = false;  // a step about the schema found that data cannot be there
};
inline Result bad(std::string message, std::string hint = {}, bool damage = true) {
  return {false, std::move(message), std::move(hint), damage};
}

// Error(CouldNotVerify) when there is none.
inline const crypto::Keyring& neededKeyring(const crypto::Keyring* ring) {
  if (ring == nullptr)
    throw Error(Code::CouldNotVerify, "not looked at: no encryption key is configured", "set ARAGORA_ENCRYPTION_KEY");
  return *ring;
}

}  // namespace aragora::verify
