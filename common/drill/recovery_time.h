// How long a recovery would take, from each place: by what the last drill there took for the backup and for the log,
// and by how much of both there is now. Pure.
#pragma once

#include "common/drill/evidence.h"

namespace aragora::drill {

struct Amount {
  std::uint64_t backup = 0;  // stored bytes
  std::uint64_t log = 0;     // bytes of log to replay, or of increments
};

struct Prediction {
  Where place = Where::Local;
  Way way = Way::Logical;
  Amount amount;
  double seconds = 0;
  bool measured = false;  // a drill has recovered this way from this place
};

Prediction predictRecovery(const std::vector<Kept>& drills, const fs::path& here, Where place, Way way,
                           const Amount& amount);

}  // namespace aragora::drill
