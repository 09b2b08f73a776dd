// What a request may ask of a debate beyond its question, seats and rounds, as it is stored with the debate and
// recorded in its first event. Pure, any thread.
#pragma once

#include "common/base/json.h"
#include "daemon/debate/consensus.h"
#include "daemon/debate/seats.h"

namespace aragora::debate {

// Of proposals that give orders to voters and judges: it is shown that they do, or they are no candidates either.
inline constexpr std::string_view kMark = "mark";
inline constexpr std::string_view kExclude = "exclude";

struct Options {
  struct OfSeat {
    std::string role{};
    std::int64_t weight = 0;
  };
  std::vector<OfSeat> seats{};  // in the order of the agents; empty: nothing of any
  Share quorum{1, 2};
  Share share{2, 3};
  bool allow_absent = false;
  std::string judge{};                // an agent; empty: a seat judges
  std::int64_t deadline_seconds = 0;  // 0: as it is configured
  bool exclude_orders = false;        // what gives orders is no candidate
  bool stop_when_steady = false;
};

// Without what is as it would be anyhow.
json::object toJsonObject(const Options& options);
// Whatever is not there or not understood is as it would be anyhow.
Options optionsFrom(const json::object& object);

}  // namespace aragora::debate
