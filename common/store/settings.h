// Settings that live in the database because every instance must agree on them.
#pragma once

#include <map>

#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::store {

inline constexpr std::string_view kKeyCheck = "encryption.key_check";
inline constexpr std::string_view kInstanceId = "instance.id";
inline constexpr std::string_view kDatabaseEpoch = "database.epoch";        // new with every restore in its place
inline constexpr std::string_view kReceiptsComplete = "receipts.complete";  // every debate that had ended got its own

// Behind it a provider, whose circuit an administrator holds: "open" or "closed".
inline constexpr std::string_view kForcedCircuit = "breaker.forced.";
inline constexpr std::string_view kDebatesRemoved = "debates.removed";  // how many, ever: what lists remember is over

std::optional<std::string> readSetting(database::Connection& connection, std::string_view name);
// By what follows the prefix in their names. A prefix has neither % nor _.
std::map<std::string, std::string> settingsUnder(database::Connection& connection, std::string_view prefix);
// nullopt takes it away.
void writeSetting(database::Connection& connection, std::string_view name, const std::optional<std::string>& value);
// Stores `value` unless there is one; answers what is stored now.
std::string settingOrInsert(database::Connection& connection, std::string_view name, const std::string& value);
// A number that only grows, by one.
void countUp(database::Connection& connection, std::string_view name);

// Whether the keyring's active key is the one this database was used with: stores the check value at first use and when
// a previous key's is there (a rotation), throws Error(Config) when another key is stored. Run it in a write
// transaction.
void requireSameKey(database::Connection& connection, const crypto::Keyring& keyring);

}  // namespace aragora::store
