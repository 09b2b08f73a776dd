// Chains of events from before chains had keys: all of them are sealed once with the key of today, so that nobody can
// make one anew who does not have it.
#pragma once

#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::debate {

// Does nothing when it was done before. Audited when there was anything to seal.
void sealOldChains(
    database::Database& database, const crypto::Keyring& keyring, const std::function<void()>& after_each = [] {});

}  // namespace aragora::debate
