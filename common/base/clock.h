// Time as the product stores and shows it: microseconds since the Unix epoch (UTC) in databases and events, RFC 3339
// with milliseconds and `Z` in JSON. Deadlines use the steady clock.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace aragora {

using Micros = std::int64_t;
using Deadline = std::chrono::steady_clock::time_point;

Micros nowMicros();
std::string toIso(Micros at);                          // 2026-01-13T10:00:00.000Z
std::string toCompactIso(Micros at);                   // 20260113T100000Z, for names of backups
std::optional<Micros> fromIso(std::string_view text);  // what toIso writes; seconds-only and offsets too
inline Deadline deadlineIn(std::chrono::milliseconds span) { return std::chrono::steady_clock::now() + span; }
std::chrono::milliseconds remaining(Deadline deadline);  // never negative
double secondsSince(std::chrono::steady_clock::time_point start);

}  // namespace aragora
