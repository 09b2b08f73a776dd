// Moments as people give them: RFC 3339, and what date(1) prints. Read exactly or not at all: a moment without a zone,
// or on a day that no calendar has, would be a guess, and a recovery to a guess is a wrong one.
#pragma once

#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace aragora {

// RFC 3339 (T, t or a space in the middle; Z, z, +05:30, also +0530; fractions with point or comma, of which
// microseconds are kept; a leap second where there can be one, as the second behind it), and what `date`, `date -R`,
// `date -Iseconds` and its like, and `date --rfc-3339=ns` print in the C locale. The name of a zone is taken when it is
// UTC or GMT, or what this machine's zone is called at that moment.
std::optional<Micros> parseMoment(std::string_view text);
// Error(Usage) that says what can be written.
Micros requireMoment(std::string_view option, std::string_view text);
// A day of the calendar, as its beginning in UTC: 2026-01-13. What a moment is asked for takes none.
std::optional<Micros> parseDay(std::string_view text);
std::string toExactIso(Micros at);  // 2026-01-13T10:00:00.123456Z
// 2026-01-13T10:00:00.123456Z (here 2026-01-13 15:30:00 IST, +0530)
std::string describeMoment(Micros at);

}  // namespace aragora
