// A place for backups, here or elsewhere, belongs to one deployment. deployment.json at its root says which: written
// before anything else, compared by every writer of every kind on every run. Two that come first at the same moment: in
// a directory one of them makes the file; in a store the one whose mark is there a second later has it, and what wrote
// over it in between is refused by its next run.
#pragma once

#include <optional>

#include "common/base/clock.h"
#include "common/database/connection.h"
#include "common/storage/place.h"

namespace aragora::backup {

struct Owner {
  std::string instance_id;
  std::string host;  // where the mark was written; empty when only the backups tell whose they are
  Micros since = 0;
};

// By its mark, or where there is none yet by the newest manifest that can be read. Error(Damaged) for a mark that
// cannot.
std::optional<Owner> ownerOf(const storage::Place& place);
// Error(Conflict), naming the owner and the way out, when it is another deployment's. Reads only.
void requireOwner(const storage::Place& place, const std::string& instance_id);
// The same, and from now on it is `instance_id`'s.
void claimPlace(const storage::Place& place, const std::string& instance_id);

// The deployment that a database is of; made up at first use. nullopt before its first migration.
std::optional<std::string> instanceOf(const database::Target& target);

}  // namespace aragora::backup
