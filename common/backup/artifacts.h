// Debate artifacts: every finished debate with its events, a line of JSON each, so that they outlive the database's own
// format and can be read with stock tools. Payloads stay texts, because the chain of hashes is over their bytes.
#pragma once

#include "common/backup/artifact.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct ArtifactCounts {
  std::int64_t debates = 0;
  std::int64_t events = 0;
};

// One snapshot; memory is one debate.
ArtifactCounts writeDebates(const database::Target& target, const ByteSink& sink, Progress* progress = nullptr);
// Reads what writeDebates wrote; recomputes every chain, as far as the ring has its key (the backup itself is signed).
// Throws Error(Damaged) naming the debate.
ArtifactCounts checkDebates(const storage::Place& directory, const FileRecord& record, const crypto::Keyring& keyring);

}  // namespace aragora::backup
