// Looks things up in the log with PostgreSQL's own pg_waldump, which brings them to the LSN that decides: restore
// points, transactions, the first commit behind a position. Reads the log once, a few files at a time.
#pragma once

#include "common/backup/physical/wal_archive.h"
#include "common/base/interrupt.h"

namespace aragora::backup {

struct LogMatch {
  std::uint32_t timeline = 0;
  Lsn at = 0;
  Micros time = 0;  // of a commit
};

// [from, to) of one timeline's log.
struct Stretch {
  std::uint32_t timeline = 0;
  Lsn from = 0;
  Lsn to = kNever;
};

// Error(CouldNotVerify) when pg_waldump is missing or cannot read the log to its end.
std::vector<LogMatch> findRestorePoint(const WalArchive& archive, const WalListing& listing, const Stretch& where,
                                       const std::string& name);
std::vector<LogMatch> findTransaction(const WalArchive& archive, const WalListing& listing, const Stretch& where,
                                      std::uint32_t xid);
// The transaction that ended with this one as a part of it; nullopt when there is none.
std::optional<std::uint32_t> findTransactionAround(const WalArchive& archive, const WalListing& listing,
                                                   const Stretch& where, std::uint32_t xid);
std::optional<LogMatch> firstCommit(const WalArchive& archive, const WalListing& listing, const Stretch& where);

// Where the server was told to write no more than crash recovery needs (wal_level = minimal); nullopt when nowhere, or
// when `stop` was turned before it was found.
std::optional<Lsn> firstMinimal(const WalArchive& archive, const WalListing& listing, const Stretch& where,
                                const interrupt::Switch& stop);

}  // namespace aragora::backup
