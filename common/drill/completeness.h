// Whether what is kept is all there, as far as names and sizes tell: increments and log here, and the copy elsewhere.
// What the files hold takes a `backup verify`.
#pragma once

#include "common/backup/offsite.h"
#include "common/backup/physical/recover.h"

namespace aragora::drill {

// What is missing, one line each; empty when nothing is.
std::vector<std::string> whatIncrementsLack(const backup::Entry& full);
std::vector<std::string> whatLogLacks(const storage::Place& wal, const std::vector<std::uint32_t>& timelines);

struct Elsewhere {
  std::string failure;                           // it did not answer: why
  std::vector<std::string> lacks;                // of what was copied there
  std::optional<backup::RecoveryWindow> window;  // of a recovery that reads there
};
struct Copied {
  std::vector<backup::Entry> entries;    // that were complete there
  std::optional<backup::WalStatus> log;  // how far the log was
};
// Gives up after a few seconds: the place is asked in a thread of its own, which may outlive the call.
Elsewhere lookElsewhere(const storage::Place& place, const Copied& copied, const crypto::Keyring& keyring);

}  // namespace aragora::drill
