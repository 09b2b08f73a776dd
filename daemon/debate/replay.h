// Holds a debate again from what is recorded, without asking anybody: its questions are made anew and compared with
// the digests of those that were asked, and what the rules make of the recorded answers with the events of its chain.
// What came from outside (the audience, a cancellation, the end of its time) is taken as it was recorded.
#pragma once

#include "common/store/debates.h"

namespace aragora::debate {

struct Replay {
  std::int64_t questions = 0;            // that were made anew and are what was asked
  std::int64_t events = 0;               // that came out as they are recorded
  std::int64_t outside = 0;              // events that no rule makes
  bool whole = false;                    // it has ended, and was replayed to its end
  std::vector<std::string> differences;  // empty: all of it is what the rules make of what was answered
};

// Throws what the store throws; Error(NotFound).
Replay replay(store::Debates& debates, const std::string& debate_id);

}  // namespace aragora::debate
