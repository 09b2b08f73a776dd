// Private to common/verify: whether the row of a debate says what its events say. The row is what lists, exports and
// the API show; the events are the truth. Memory: about 100 bytes a debate.
#pragma once

#include <string>

#include "common/database/connection.h"
#include "common/store/event_chain.h"

namespace aragora::verify {

// Columns to select from `debates` for wrongIn().
inline constexpr std::string_view kSummaryColumns =
    "task, agents, rounds, consensus_kind, seed, status, outcome, error, consensus_reached, confidence, final_answer, "
    "consensus";

// What the events of one debate promise; each a digest that fits a short string.
class Promise {
 public:
  void take(const store::ChainedEvent& event);
  // The name of the part that the row says otherwise, empty when there is none. `first` is the first of the columns.
  std::string wrongIn(const database::Row& row, std::size_t first) const;

 private:
  std::string created_;
  std::string decided_;
  std::string ended_;
};

}  // namespace aragora::verify
