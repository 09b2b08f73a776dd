// Money as a whole number of 10^-12 US dollars, and as decimal text ("0.016476"): never through a floating-point
// number. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aragora {

using Picos = std::int64_t;  // ends at 9.2 million dollars
inline constexpr Picos kPicosPerUsd = 1'000'000'000'000;

// "2", "0.5", "12.000001": digits with at most twelve behind the point. nullopt for anything else, and beyond int64.
std::optional<Picos> parseUsd(std::string_view text);
// As short as it is exact; a minus sign in front of what is negative.
std::string toUsd(Picos amount);
// For people: dollars and cents, more digits where there is less than a cent.
std::string shownUsd(Picos amount);

}  // namespace aragora
