#include "common/base/clock.h"

#include <fmt/chrono.h>

#include <cstdio>
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

std::optional<Micros> fromIso(std::string_view text) {
  const std::string copy(text);
  std::tm parts{};
  const char* rest = strptime(copy.c_str(), "%Y-%m-%d", &parts);
  if (rest == nullptr) return std::nullopt;
  if (*rest == 'T' || *rest == ' ') {
    rest = strptime(rest + 1, "%H:%M:%S", &parts);
    if (rest == nullptr) return std::nullopt;
  }
  Micros fraction = 0;
  if (*rest == '.') {
    Micros unit = 100'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) fraction += (*rest - '0') * unit;
  }
  Micros offset = 0;
  if (*rest == '+' || *rest == '-') {
    int hours = 0;
    int minutes = 0;
    if (std::sscanf(rest + 1, "%2d:%2d", &hours, &minutes) < 1) return std::nullopt;
    offset = (*rest == '-' ? -1 : 1) * (hours * 3600LL + minutes * 60LL) * 1'000'000;
  } else if (*rest != 'Z' && *rest != 'z' && *rest != '\0') {
    return std::nullopt;
  }
  return static_cast<Micros>(timegm(&parts)) * 1'000'000 + fraction - offset;
}

std::chrono::milliseconds remaining(Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace aragora
