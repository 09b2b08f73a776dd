// Private to common/verify: whether the row of a debate says what its events say. The row is what lists, exports and
// the API show; the events are the truth. Memory: about 100 bytes a debate.
#pragma once

#include <string>

#include "common/database/connection.h"
#include "common/store/event_chain.h"

namespace aragora::verify {

// Columns to select from `debates` for wrongIn(), and after them those of wishes.
inline constexpr std::string_view kSummaryColumns =
    "task, agents, rounds, consensus_kind, seed, status, outcome, error, consensus_reached, confidence, final_answer, "
    "consensus";
// And of schemas that have them (version 10).
inline constexpr std::string_view kWishColumns = "protocol, options, documents";
inline constexpr std::string_view kNoWishes = "1, '{}', '[]'";

inline constexpr std::string_view kMatchColumns = "participants, scores, created_at, record";

// What the events of one debate promise; each a digest that fits a short string.
class Promise {
 public:
  void take(const store::ChainedEvent& event);
  // The name of the part that the row says otherwise, empty when there is none. `first` is the first of the columns.
  std::string wrongIn(const database::Row& row, std::size_t first) const;
  // Whether there is a match in the log: the event that says so, or, before there was one, an agreement of several.
  bool matched() const { return !match_.empty(); }
  // Whether the log has it as the event says. `first` is the first of kMatchColumns.
  bool matchHolds(const database::Row& row, std::size_t first) const;

 private:
  std::string created_;
  std::string decided_;
  std::string ended_;
  std::string match_;
  bool first_rules_ = true;
};

}  // namespace aragora::verify
