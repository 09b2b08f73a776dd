// What the settings ask of recovery: what is backed up and how often, where the copy elsewhere is, how long a recovery
// may take and how much it may lose. A value.
#pragma once

#include "common/backup/policy.h"
#include "common/storage/place.h"

namespace aragora::drill {

struct Objectives {
  backup::Policy policy{};
  std::chrono::hours every{24};            // a full backup
  std::chrono::seconds save_interval{60};  // increments, where whoever saves says nothing of it
  std::chrono::seconds rto{3600};
  std::chrono::seconds rpo{300};
  std::string offsite{};                  // as it is written; empty: there is no place elsewhere
  std::optional<storage::Place> place{};  // of it
  std::string place_problem{};            // why there is none
};

// A place elsewhere that cannot be understood is a problem of its own, no failure.
Objectives objectivesOf(const config::Config& config);

}  // namespace aragora::drill
