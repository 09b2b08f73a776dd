// Who sits at a debate. An agent that is named once has its own name for a seat; named several times its seats are
// numbered, «demo#1», «demo#2». Agents may therefore not have a # in their names.
#pragma once

#include <string>
#include <vector>

namespace aragora::debate {

struct Seat {
  std::string name;
  std::string agent;
};

std::vector<Seat> seatsOf(const std::vector<std::string>& agents);

}  // namespace aragora::debate
