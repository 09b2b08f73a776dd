// Proves the live data: migrations and schema, integrity and foreign keys, event chains against their summaries, the
// audit chain, the encryption key and the ratings. Every step looks; a step that could not look says so and is never
// counted as passed. Reads only (the expected schema is built in a transaction that is rolled back).
#pragma once

#include <functional>

#include "common/audit/audit.h"
#include "common/base/error.h"
#include "common/base/progress.h"
#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::verify {

enum class Outcome { Ok, Failed, NotVerified };

struct Finding {
  std::string id;  // "schema.fingerprint"
  Outcome outcome = Outcome::Ok;
  std::string message;  // on failure it names the first bad place
  std::string hint;
  // Speaks against data that was just restored. What only says that the schema is not exactly this version's (an index
  // or a table more or less, migrations that came later) does not: it was so in the source, and nothing is lost by it.
  bool against_restored = false;
};

struct Report {
  std::vector<Finding> findings;
  bool damaged = false;  // chains, checksums or integrity do not hold: exit 65
  bool failed() const;
  bool incomplete() const;
  // The first finding that speaks against data which was just restored; nullptr when there is none. What is gated on it
  // is the swap, never the existence of what was restored: that is kept, and named.
  const Finding* againstRestored() const;
  // Everything that speaks against what was restored to `where`, and stays there: Error(Damaged | CheckFailed |
  // CouldNotVerify).
  Error refusal(const std::string& where) const;
  // For people, a line each: what holds, and what does not hold but is no reason to refuse restored data.
  std::vector<std::string> held() const;
  std::vector<std::string> warnings() const;
  // 0, 65 damaged, 1 other failures, 69 when something could not be verified.
  int exitStatus() const;
};

struct Options {
  const crypto::Keyring* keyring = nullptr;  // absent: everything that needs the key is NotVerified
  // Of data that was restored: what its backup had. Less than that speaks against it.
  int expected_version = 0;
  // Of a live database: what was written down elsewhere about the audit log's end.
  std::vector<audit::Witness> witnesses = {};
  Micros accepted_at = 0;                // what they saw before was replaced by a restore, or accepted
  std::vector<std::string> unread = {};  // which of them could not be asked, and why
  std::vector<std::string> forged = {};  // which of them somebody else wrote
  Progress* progress = nullptr;
};

Report verifyDatabase(const database::Target& target, const Options& options);

}  // namespace aragora::verify
