// Proves the live data: migrations and schema, integrity and foreign keys, event chains against their summaries, the
// audit chain, the encryption key and the ratings. Every step looks; a step that could not look says so and is never
// counted as passed. Reads only (the expected schema is built in a transaction that is rolled back).
#pragma once

#include <functional>

#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::verify {

enum class Outcome { Ok, Failed, NotVerified };

struct Finding {
  std::string id;  // "schema.fingerprint"
  Outcome outcome = Outcome::Ok;
  std::string message;  // on failure it names the first bad place
  std::string hint;
};

struct Report {
  std::vector<Finding> findings;
  bool damaged = false;  // chains, checksums or integrity do not hold: exit 65
  bool failed() const;
  bool incomplete() const;
  // The first failure that speaks against data which was just restored; nullptr when there is none. Migrations that
  // came after the backup do not: the next `aragora migrate` applies them.
  const Finding* againstRestored() const;
  // 0, 65 damaged, 1 other failures, 69 when something could not be verified.
  int exitStatus() const;
};

struct Options {
  const crypto::Keyring* keyring = nullptr;  // absent: everything that needs the key is NotVerified
  std::function<void(std::string_view step, std::int64_t done)> on_progress;
};

Report verifyDatabase(const database::Target& target, const Options& options);

}  // namespace aragora::verify
