#include "daemon/debate/seats.h"

namespace aragora::debate {

std::vector<Seat> seatsOf(const std::vector<std::string>& agents) {
  std::vector<Seat> seats;
  std::map<std::string, int> number;
  for (const auto& agent : agents) {
    const bool alone = std::count(agents.begin(), agents.end(), agent) == 1;
    seats.push_back({alone ? agent : fmt::format("{}#{}", agent, ++number[agent]), agent, {}, 0});
  }
  return seats;
}

}  // namespace aragora::debate
