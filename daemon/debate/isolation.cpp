#include "daemon/debate/isolation.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"

namespace aragora::debate {

namespace {
constexpr std::uint32_t kBroken = 0xffffffffU;

// The character that begins at `at`, and how many bytes it has; what is no UTF-8 is one byte of kBroken.
std::pair<std::uint32_t, std::size_t> characterAt(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (length == 0 || at + length > text.size()) return {kBroken, 1};
  std::uint32_t value = lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xc0U) != 0x80U) return {kBroken, 1};
    value = value << 6U | (next & 0x3fU);
  }
  return {value, length};
}

// Format and control characters that people do not see. (Unicode: categories Cc and Cf)
bool unseen(std::uint32_t c) {
  return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c || c == 0x180e ||
         (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
         (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff) || c == kBroken;
}

// Where the terminal sequence that begins at `at` ends: ESC [ … a letter. (ECMA-48)
std::size_t pastSequence(std::string_view text, std::size_t at) {
  if (at + 1 >= text.size() || text[at + 1] != '[') return at + 1;
  auto end = at + 2;
  while (end < text.size() && text[end] >= 0x20 && text[end] <= 0x3f) ++end;
  return std::min(end + 1, text.size());
}

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; }

std::string withoutMiddle(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  auto head = limit / 2;
  auto tail = text.size() - limit / 2;
  while (head > 0 && continues(text[head])) --head;
  while (tail < text.size() && continues(text[tail])) ++tail;
  return fmt::format("{}\n[… {} bytes left out …]\n{}", text.substr(0, head), tail - head, text.substr(tail));
}

constexpr std::array<std::string_view, 20> kOrders{
    "ignore all previous",
    "ignore previous instructions",
    "ignore the instructions",
    "ignore your instructions",
    "ignore all instructions",
    "disregard previous",
    "disregard all",
    "disregard your instructions",
    "forget your instructions",
    "all voters",
    "other voters",
    "dear judge",
    "to the judge",
    "the judge must",
    "voters must",
    "voters should",
    "you must vote",
    "you must choose",
    "system prompt",
    "developer message",
};

// «vote for P3», «choose p1», «"choice": …».
bool namesAChoice(const std::string& words) {
  if (words.find("\"choice\"") != std::string::npos || words.find("choice:") != std::string::npos) return true;
  for (const std::string_view verb : {"vote for p", "vote p", "choose p", "choose proposal p", "pick p", "select p"}) {
    for (auto at = words.find(verb); at != std::string::npos; at = words.find(verb, at + 1)) {
      const auto next = at + verb.size();
      if (next < words.size() && words[next] >= '0' && words[next] <= '9') return true;
    }
  }
  return false;
}
}  // namespace

std::string asData(std::string_view text, std::size_t limit) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '\x1b') {
      at = pastSequence(text, at);
      continue;
    }
    const auto character = characterAt(text, at);
    if (!unseen(character.first)) clean.append(text.substr(at, character.second));
    at += character.second;
  }
  return withoutMiddle(std::move(clean), limit);
}

std::string folded(std::string_view text) {
  std::string words;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!blank)
      words += c;
    else if (!words.empty() && words.back() != ' ')
      words += ' ';
  }
  if (!words.empty() && words.back() == ' ') words.pop_back();
  return words;
}

bool givesOrders(std::string_view text) {
  auto words = folded(asData(text, text.size()));
  std::transform(words.begin(), words.end(), words.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return namesAChoice(words) || std::any_of(kOrders.begin(), kOrders.end(), [&](std::string_view order) {
           return words.find(order) != std::string::npos;
         });
}

}  // namespace aragora::debate
