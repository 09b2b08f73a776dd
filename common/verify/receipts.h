// Whether the receipts and the log over them are what was issued, and say what their debates say. Memory: 32 bytes a
// level of the tree, and a batch of debates.
#pragma once

#include "common/base/progress.h"
#include "common/crypto/keyring.h"
#include "common/database/connection.h"

namespace aragora::verify {

// Says what was looked at. Throws Error(Damaged) naming the first receipt, and what of it, that does not hold;
// Error(CouldNotVerify) when all holds that can be looked at without a keyring, which the keys' own proof needs.
std::string receiptsHold(database::Connection& connection, const crypto::Keyring* keyring, Progress* progress);

}  // namespace aragora::verify
