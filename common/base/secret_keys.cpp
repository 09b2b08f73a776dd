#include <algorithm>

#include "common/base/secret_shapes.h"
#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::size_t kMostOfKey = 64U << 10;
constexpr std::size_t kSomeOfLine = 16;  // of base 64, after which a line beside a key is one of it
constexpr std::size_t kMostOfLine = 40;  // and where nothing else says so

bool isSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool isQuote(char c) { return c == '"' || c == '\'' || c == '`'; }

struct Kinds {
  bool upper = false;
  bool lower = false;
  bool digit = false;
  bool beyond_hex = false;
  bool base64 = true;
};
Kinds kindsOf(std::string_view text) {
  Kinds kinds;
  for (const char c : text) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool lower = c >= 'a' && c <= 'z';
    const bool digit = c >= '0' && c <= '9';
    kinds.upper |= upper;
    kinds.lower |= lower;
    kinds.digit |= digit;
    kinds.beyond_hex |= (upper && c > 'F') || (lower && c > 'f');
    kinds.base64 &= upper || lower || digit || c == '+' || c == '/' || c == '=';
  }
  return kinds;
}

// A log has something of its own before each line.
std::string_view lastWord(std::string_view line) {
  line = trim(line);
  while (!line.empty() && (isQuote(line.back()) || line.back() == ',')) line.remove_suffix(1);
  for (const std::string_view escape : {"\\n", "\\r"}) {
    while (endsWith(line, escape)) line.remove_suffix(escape.size());
  }
  const auto space = line.find_last_of(" \t\"'");
  return space == std::string_view::npos ? line : line.substr(space + 1);
}

bool isLineOfKey(std::string_view line, std::size_t least) {
  const auto word = lastWord(line);
  const auto kinds = kindsOf(word);
  return word.size() >= least && kinds.base64 && kinds.upper && kinds.lower && kinds.beyond_hex &&
         (least < kMostOfLine || kinds.digit);
}

// The last of a key is as short as it comes; a word is not taken for it.
bool isShortLineOfKey(std::string_view line) {
  line = trim(line);
  const auto kinds = kindsOf(line);
  return line.size() > 1 && kinds.base64 && (kinds.upper || kinds.digit || line.back() == '=');
}

bool isHeaderOfKey(std::string_view line) {
  line = trim(line);
  if (line.empty()) return true;
  for (const auto* name : {"Proc-Type:", "DEK-Info:", "Version:", "Comment:", "Hash:", "Charset:"}) {
    if (startsWith(line, name)) return true;
  }
  return false;
}

std::string_view lineAt(std::string_view text, std::size_t at) {
  return text.substr(at, std::min(text.find('\n', at), text.size()) - at);
}

bool isPrivate(std::string_view text, std::size_t marker) {
  return text.substr(marker, 60).find("PRIVATE KEY") != std::string_view::npos;
}

// What follows a BEGIN without an END: the rest of its word, and the lines that look like those of a key.
std::size_t endOfBody(std::string_view text, std::size_t at, bool first_is_one) {
  auto end = at;
  while (end < text.size() && !isSpace(text[end]) && !isQuote(text[end])) ++end;
  bool body = !first_is_one;
  for (auto next = end; next < text.size() && isSpace(text[next]) && next - at < kMostOfKey;) {
    const auto newline = text.find('\n', next);
    if (newline == std::string_view::npos || !trim(text.substr(next, newline - next)).empty()) break;
    const auto line = lineAt(text, newline + 1);
    next = newline + 1 + line.size();
    if (!body && isHeaderOfKey(line)) continue;
    const bool lone = trim(line).find_first_of(" \t") == std::string_view::npos;
    if (isLineOfKey(line, kSomeOfLine) || (!body && lone)) {
      end = next;
    } else {
      if (isShortLineOfKey(line)) end = next;
      break;
    }
    body = true;
  }
  return end;
}

// The lines before `end` that look like those of a key, of which the first may have been cut.
std::size_t beginOfBody(std::string_view text, std::size_t end) {
  auto begin = end;
  while (begin > 0 && !isSpace(text[begin - 1]) && !isQuote(text[begin - 1])) --begin;
  for (bool last = true; begin > 0; last = false) {
    auto start = text.rfind('\n', begin - 1);
    // Of the line of the END itself what is before it is a log's.
    if (start == std::string_view::npos) break;
    const auto before = start == 0 ? std::string_view::npos : text.rfind('\n', start - 1);
    const auto line_begin = before == std::string_view::npos ? 0 : before + 1;
    const auto line = text.substr(line_begin, start - line_begin);
    const bool first = line_begin == 0;
    if (!isLineOfKey(line, kSomeOfLine) && !((last || first) && isShortLineOfKey(line))) break;
    begin = line_begin + static_cast<std::size_t>(lastWord(line).data() - line.data());
    if (first) break;
    begin = line_begin;
  }
  return begin;
}

std::vector<std::string_view> linesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; at < text.size(); at += lines.back().size() + 1) lines.push_back(lineAt(text, at));
  return lines;
}

// How many of the lines at one end are of a key: two whole ones at least, and a short one at either side of them.
template <typename Lines>
std::size_t keyLinesAt(Lines begin, Lines end) {
  auto line = begin;
  if (line != end && !isLineOfKey(*line, kMostOfLine) && isShortLineOfKey(*line)) ++line;
  const auto whole = line;
  while (line != end && isLineOfKey(*line, kMostOfLine)) ++line;
  if (line - whole < 2) return 0;
  if (line != end && isShortLineOfKey(*line)) ++line;
  return static_cast<std::size_t>(line - begin);
}
}  // namespace

std::optional<Span> pem(std::string_view text, std::size_t at) {
  if (text.compare(at, kBegin.size(), kBegin) != 0 || !isPrivate(text, at)) return std::nullopt;
  const auto label = text.find("-----", at + kBegin.size());
  const auto body = label == std::string_view::npos ? text.size() : label + 5;
  auto marker = body;
  while ((marker = text.substr(0, std::min(text.size(), at + kMostOfKey)).find("-----", marker)) !=
         std::string_view::npos) {
    if (text.compare(marker, kBegin.size(), kBegin) == 0) break;
    if (text.compare(marker, kEnd.size(), kEnd) == 0) {
      const auto close = text.find("-----", marker + kEnd.size());
      return Span{at, close == std::string_view::npos ? text.size() : close + 5};
    }
    ++marker;
  }
  return Span{at, endOfBody(text, body, true)};
}

std::optional<Span> encodedPem(std::string_view text, std::size_t at) {
  constexpr std::string_view kEncoded = "LS0tLS1CRUdJTi";
  if (text.compare(at, kEncoded.size(), kEncoded) != 0) return std::nullopt;
  const auto kind = text.substr(at + kEncoded.size());
  if (startsWith(kind, "BDRVJU") || startsWith(kind, "BQVUJM")) return std::nullopt;  // CERT, PUBL
  return Span{at, endOfBody(text, at, false)};
}

std::vector<Span> cutKeys(std::string_view text) {
  std::vector<Span> found;
  if (text.find('\n') == std::string_view::npos) return found;
  const auto lines = linesOf(text);
  if (const auto count = keyLinesAt(lines.begin(), lines.end()); count > 0) {
    const auto& last = lines[count - 1];
    found.push_back({0, static_cast<std::size_t>(last.data() + last.size() - text.data())});
  }
  bool open = false;
  for (std::size_t at = 0; (at = text.find("-----", at)) != std::string_view::npos; at += 5) {
    if (text.compare(at, kBegin.size(), kBegin) == 0) open = true;
    if (text.compare(at, kEnd.size(), kEnd) != 0) continue;
    const auto begin = open || !isPrivate(text, at) ? at : beginOfBody(text, at);
    if (begin < at) found.push_back({begin, at});
    open = false;
  }
  if (const auto count = keyLinesAt(lines.rbegin(), lines.rend()); count > 0 && !open) {
    const auto& first = lines[lines.size() - count];
    found.push_back({static_cast<std::size_t>(first.data() - text.data()),
                     static_cast<std::size_t>(lines.back().data() + lines.back().size() - text.data())});
  }
  return found;
}

}  // namespace aragora
