// A copy of a whole PostgreSQL cluster from pg_basebackup: one tar stream with the WAL that makes it consistent and
// PostgreSQL's own manifest of every file, against which the stream is checked while it passes.
#pragma once

#include <map>
#include <optional>

#include "common/backup/artifact.h"
#include "common/backup/physical/tar.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "common/database/connection.h"

namespace aragora::backup {

// Compares a tar stream with the backup_manifest at its end (PostgreSQL documentation, "Backup Manifest Format"): every
// listed file is there with its size and SHA-256, nothing else is, the manifest's own sum holds. Throws Error(Damaged).
class BaseChecker {
 public:
  BaseChecker();
  void write(std::string_view bytes) { tar_.write(bytes); }
  // The WAL that recovery needs at least, once the stream has ended.
  struct WalRange {
    std::uint32_t timeline = 0;
    Lsn start = 0;
    Lsn stop = 0;
  };
  WalRange finish();

 private:
  struct Seen {
    std::uint64_t size = 0;
    std::string sha256;
  };
  void compareFiles(const json::object& manifest) const;
  TarReader tar_;
  std::map<std::string, Seen> seen_;
  std::optional<crypto::Sha256> hash_;
  std::string name_;
  std::uint64_t size_ = 0;
  std::string manifest_;
};

// Streams the cluster into `sink`. Needs the REPLICATION privilege. A cluster with tablespaces cannot be streamed by
// pg_basebackup: it is copied into `scratch` first (a directory that does not exist; it is removed again) and streamed
// from there, each tablespace as the directory pg_tblspc/<oid>. Error(Config) when the installed pg_basebackup is older
// than the server, Error(Unreachable) when it fails. The server keeps its log for it, where it has a slot free.
struct BaseReport {
  std::string server_version;
  int server_number = 0;  // 150020
  std::string system_identifier;
  std::uint64_t segment_size = 0;
  BaseChecker::WalRange wal;
  Micros stopped_at = 0;  // by the server's clock, in whole milliseconds
};
BaseReport streamBase(const database::Target& target, std::uint64_t max_rate, const fs::path& scratch,
                      const ByteSink& sink, Progress* progress = nullptr);

}  // namespace aragora::backup
