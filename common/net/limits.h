// How long anything on the network may take, and who may end it earlier.
#pragma once

#include <chrono>
#include <stop_token>

#include "common/base/clock.h"

namespace aragora::net {

struct Limits {
  Deadline deadline = Deadline::max();         // of the whole
  std::chrono::milliseconds patience{30'000};  // of each step: connecting, and every wait for the other side
  std::stop_token stop{};                      // ends any wait at once, with Error(Interrupted)
};

// Throws Error(Interrupted) when the token asks for it, or a signal that a command minds.
void checkStopped(const std::stop_token& stop);
// Sleeps, unless it is stopped: then throws Error(Interrupted) within 50 ms.
void pause(std::chrono::milliseconds span, const std::stop_token& stop);

}  // namespace aragora::net
