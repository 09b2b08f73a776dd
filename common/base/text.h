// Small text helpers: trimming, splitting, hex, base64, nearest name, human sizes. Pure functions, any thread.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aragora {

std::string_view trim(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);  // parts trimmed, empty parts dropped
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string lower(std::string_view text);
std::string upper(std::string_view text);
// "1 error", "3 errors", "2 entries": every number of things that is shown goes through here.
std::string counted(std::uint64_t number, std::string_view noun);
template <std::signed_integral Number>
std::string counted(Number number, std::string_view noun) {
  return counted(static_cast<std::uint64_t>(number < 0 ? 0 : number), noun);
}
// The word that goes with it: agreeing(n, "is", "are").
template <std::integral Number>
std::string_view agreeing(Number number, std::string_view one, std::string_view more) {
  return number == 1 ? one : more;
}
bool startsWith(std::string_view text, std::string_view prefix);
bool endsWith(std::string_view text, std::string_view suffix);
std::string replaceAll(std::string text, std::string_view from, std::string_view to);

std::string toHex(std::string_view bytes);
std::optional<std::string> fromHex(std::string_view text);
std::string toBase64(std::string_view bytes, bool padded = true);  // RFC 4648 section 4
std::optional<std::string> fromBase64(std::string_view text);      // padded or not, nothing else tolerated
std::string toBase64Url(std::string_view bytes);                   // RFC 4648 section 5, unpadded
std::optional<std::string> fromBase64Url(std::string_view text);   // unpadded; one text for each content

// The candidate with the smallest Levenshtein distance, when it is close enough to be a typing error (a third of the
// length, at least 2), or the first that the word is the beginning of.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

// Numbers for people, everywhere in the same form; JSON has them raw, with the unit in the name. Counts have no
// separators.
std::string humanBytes(std::uint64_t bytes);                // "49.2 MB" (powers of 1000), "512 B"
std::string humanRate(double bytes_per_second);             // "49.2 MB/s"
std::string humanDuration(std::chrono::milliseconds span);  // "3 d 4 h", "5 min", "2.1 s", "15 ms"
std::string humanDuration(double seconds);                  // as measured
std::string humanSeconds(std::int64_t seconds);             // "4 min 10 s", "17 s": where nobody knows it more exactly
// Control characters, escape sequences and invalid UTF-8 made harmless for a log or a terminal (CWE-117).
std::string printable(std::string_view text, std::size_t limit = 4096);
bool validUtf8(std::string_view text);

std::optional<std::int64_t> parseInteger(std::string_view text);  // decimal, whole text

}  // namespace aragora
