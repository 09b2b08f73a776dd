// What a backup holds, as JSON (format 1), signed with Ed25519 under a key derived from the encryption key and chained
// to the manifest before it. A directory without a valid manifest is not a backup.
#pragma once

#include <string>
#include <vector>

#include "common/audit/audit.h"
#include "common/backup/kind.h"
#include "common/base/clock.h"
#include "common/crypto/keyring.h"
#include "common/database/connection.h"
#include "common/database/postgres/lsn.h"

namespace aragora::backup {

using database::postgres::formatLsn;
using database::postgres::Lsn;
using database::postgres::parseLsn;

// What a file of a backup holds. Those of later versions are kept as they are.
namespace content {
inline constexpr const char* kDatabase = "database";
inline constexpr const char* kProperties = "properties";  // of the database
inline constexpr const char* kConfiguration = "configuration";
inline constexpr const char* kSessions = "sessions";
inline constexpr const char* kArtifacts = "artifacts";
}  // namespace content

struct FileRecord {
  std::string path;     // plain file name inside the backup's directory
  std::string content;  // one of content::
  std::uint64_t plain_size = 0;
  std::uint64_t stored_size = 0;
  std::string plain_sha256;  // empty for a base backup, which brings PostgreSQL's digests of every file in it
  std::string stored_sha256;
};

struct TableRecord {
  std::string name;
  std::int64_t rows = 0;
  std::string digest;  // empty for SQLite, where the file's own digest says more
};

// Of a base backup: which cluster it copies and the range of WAL without which it is nothing.
struct PhysicalRecord {
  std::string system_identifier;
  std::uint32_t timeline = 0;
  Lsn start = 0;
  Lsn stop = 0;
  Micros stopped_at = 0;  // by the server's clock, as targets of a recovery are; 0: not known
};

struct Manifest {
  int format = 1;
  std::string id;
  Kind kind = Kind::Full;
  database::Engine engine = database::Engine::Sqlite;
  std::string server_version;
  std::string tool_version;
  std::string instance_id;
  std::string key_id;
  // Without which of the encryption keys what is inside is not whole, beside the one that opens it: sealing a backup
  // anew does not reach in there. Empty for what holds no database.
  std::vector<std::string> data_keys;
  Micros started_at = 0;
  Micros finished_at = 0;
  int migration_version = 0;
  std::vector<FileRecord> files;
  std::vector<TableRecord> tables;
  std::vector<std::string> recipients;
  std::optional<PhysicalRecord> physical;  // of a base backup
  // Of a base backup: recovery to a time is possible from here on.
  Micros recoverableFrom() const { return physical && physical->stopped_at > 0 ? physical->stopped_at : finished_at; }
  // Where the audit log ended when the backup began: later, it is missed if it ends before. Of a version that noted
  // none: zero entries.
  audit::Head audit_head;
  std::string previous_sha256;  // of the manifest before this one, empty for the first
  // Above that of every one made before in this repository: its time in seconds, or one more than the last where the
  // clock says less. The order of backups, whatever clocks did. 0: of a version that gave none.
  std::int64_t sequence = 0;

  const FileRecord* file(std::string_view content) const;
  std::uint64_t storedSize() const;
};

std::string serialise(const Manifest& manifest);
// Throws Error(Damaged) that names the field. File names must be plain names: no slash, no leading dot.
Manifest parseManifest(std::string_view text);

}  // namespace aragora::backup
