// Who sits at a debate. An agent that is named once has its own name for a seat; named several times its seats are
// numbered, «demo#1», «demo#2». Agents may therefore not have a # in their names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace aragora::debate {

// The seat of a judge that sits at no other; nobody speaks for an agent of that name.
inline constexpr std::string_view kJudgeSeat = "judge";

struct Seat {
  std::string name;
  std::string agent;
  std::string role{};       // from whose point of view it speaks; empty: its own
  std::int64_t weight = 0;  // 0: as the others
};

std::vector<Seat> seatsOf(const std::vector<std::string>& agents);

}  // namespace aragora::debate
