#include "common/base/clock.h"

#include <fmt/chrono.h>

#include <ctime>

namespace aragora {

Micros nowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

namespace {
std::tm utc(Micros at) {
  const std::time_t seconds = at >= 0 ? at / 1'000'000 : -((-at + 999'999) / 1'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return parts;
}
}  // namespace

std::string toIso(Micros at) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", utc(at), ((at % 1'000'000) + 1'000'000) % 1'000'000 / 1000);
}

std::string toCompactIso(Micros at) { return fmt::format("{:%Y%m%dT%H%M%SZ}", utc(at)); }

std::chrono::milliseconds remaining(Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace aragora
