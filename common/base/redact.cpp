#include "common/base/redact.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <vector>

#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::string_view kInstead = "‹redacted›";
constexpr std::size_t kShortest = 8;
constexpr std::size_t kLongWord = 20;  // words of prose are shorter
constexpr std::size_t kLongName = 12;  // and so are names such as PostgreSQL and OpenRouter
constexpr std::size_t kMostKnown = 256;
constexpr std::size_t kWindow = 4096;  // looked ahead to tell whether something is secret, so that the work is linear

std::mutex mutex;
std::vector<std::string>& known() {
  static std::vector<std::string> values;  // longest first
  return values;
}

bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isOfToken(char c) {
  return isLetter(c) || isDigit(c) || c == '-' || c == '_' || c == '.' || c == '+' || c == '/' || c == '=';
}
bool isSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Neither a word nor a path nor the name of a variable: with digits, capitals inside, or longer than words are.
bool looksSecret(std::string_view value) {
  while (!value.empty() && std::string_view(".,;:!?)").find(value.back()) != std::string_view::npos)
    value.remove_suffix(1);
  if (value.size() < 6 || value.front() == '/' || value.front() == '$' || value.front() == '<') return false;
  const bool digits = std::any_of(value.begin(), value.end(), isDigit);
  const bool capitals = std::any_of(value.begin() + 1, value.end(), [](char c) { return c >= 'A' && c <= 'Z'; }) &&
                        std::any_of(value.begin(), value.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  return digits || (capitals && value.size() >= kLongName) || value.size() >= kLongWord;
}

// Where a value will stand, or that there is none: a parameter of SQL, NULL, or what a message leaves out.
bool isPlaceholder(std::string_view value) {
  std::size_t rest = 0;
  for (const std::string_view word : {"…", "NULL"}) {
    if (startsWith(value, word)) rest = word.size();
  }
  if (value.size() > 1 && value.front() == '$' && isDigit(value[1]))
    rest = std::min(value.find_first_not_of("0123456789", 1), value.size());
  return rest > 0 && value.find_first_not_of(",;)}", rest) == std::string_view::npos;
}

bool sameIgnoringCase(std::string_view text, std::string_view lower_word) {
  return text.size() >= lower_word.size() &&
         std::equal(lower_word.begin(), lower_word.end(), text.begin(),
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b); });
}

std::string withoutKnown(std::string_view text) {
  std::string result(text);
  const std::lock_guard lock(mutex);
  for (const auto& value : known()) result = replaceAll(std::move(result), value, kInstead);
  return result;
}

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// Each looks at what begins at `at` and answers what is secret of it.
std::optional<Span> pem(std::string_view text, std::size_t at) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  if (text.compare(at, kBegin.size(), kBegin) != 0) return std::nullopt;
  const auto label = text.substr(at, 60);
  if (label.find("PRIVATE KEY-----") == std::string_view::npos) return std::nullopt;
  const auto end = text.find("-----END ", at);
  const auto close = end == std::string_view::npos ? end : text.find("-----", end + 9);
  return Span{at, close == std::string_view::npos ? text.size() : close + 5};
}

std::optional<Span> token(std::string_view text, std::size_t at) {
  if (at > 0 && (isLetter(text[at - 1]) || isDigit(text[at - 1]))) return std::nullopt;
  for (const auto prefix : {"sk-", "eyj", "ara_", "arat_", "rt_", "age-secret-key-", "ghp_", "github_pat_", "xoxb-"}) {
    const std::string_view start(prefix);
    if (!sameIgnoringCase(text.substr(at), start)) continue;
    auto end = at + start.size();
    while (end < text.size() && isOfToken(text[end])) ++end;
    if (end - at >= start.size() + kShortest) return Span{at, end};
  }
  return std::nullopt;
}

std::optional<Span> urlPassword(std::string_view text, std::size_t at) {
  if (text.compare(at, 3, "://") != 0) return std::nullopt;
  const auto begin = at + 3;
  text = text.substr(0, begin + std::min(kWindow, text.size() - begin));
  auto end = begin;
  while (end < text.size() && !isSpace(text[end]) && text[end] != '"') ++end;
  const auto run = text.substr(begin, end - begin);
  const auto last = run.rfind('@');
  const auto colon = run.find(':');
  if (last == std::string_view::npos || colon == std::string_view::npos || colon > last) return std::nullopt;
  const auto value = run.substr(colon + 1, last - colon - 1);
  const auto port = value.substr(0, value.find('/'));  // the @ is one of the path
  if (port.size() < value.size() && std::all_of(port.begin(), port.end(), isDigit)) return std::nullopt;
  if (value == "password" || value == "[password]" || value == kInstead) return std::nullopt;
  return Span{begin + colon + 1, begin + last};
}

// How long it is: to its quote, or to what separates it from the next.
std::size_t endOfValue(std::string_view text, char quote) {
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if (quote != '\0' && text[end] == '\\' && end + 1 < text.size()) {
      ++end;
    } else if (quote != '\0' ? text[end] == quote : isSpace(text[end]) || text[end] == '&' || text[end] == ';') {
      break;
    }
  }
  return end;
}

// Of `name=value`, `name = 'va l\'ue'`, `"name": "value"` and `name: value`.
std::optional<Span> named(std::string_view text, std::size_t at) {
  std::size_t after = 0;
  for (const auto name : {"password", "passwd", "secret", "token", "api_key", "encryption_key", "access_key"}) {
    if (sameIgnoringCase(text.substr(at), name)) after = at + std::string_view(name).size();
  }
  if (after == 0) return std::nullopt;
  const bool quoted_name = after < text.size() && (text[after] == '"' || text[after] == '\'');
  if (quoted_name) ++after;
  const auto skip = [&, most = after + kWindow] {
    while (after < std::min(most, text.size()) && isSpace(text[after])) ++after;
  };
  skip();
  if (after >= text.size() || (text[after] != '=' && text[after] != ':')) return std::nullopt;
  const bool assigned = text[after] == '=' || quoted_name;
  ++after;
  skip();
  if (after >= text.size()) return std::nullopt;
  const char quote = text[after] == '"' || text[after] == '\'' ? text[after] : '\0';
  const auto begin = quote != '\0' ? after + 1 : after;
  const auto value = text.substr(begin, endOfValue(text.substr(begin, kWindow), quote));
  if (value.empty() || startsWith(value, kInstead) || isPlaceholder(value) ||
      (!assigned && quote == '\0' && !looksSecret(value)))
    return std::nullopt;
  return Span{begin, begin + endOfValue(text.substr(begin), quote)};
}

std::optional<Span> bearer(std::string_view text, std::size_t at) {
  constexpr std::string_view kWord = "bearer";
  if (!sameIgnoringCase(text.substr(at), kWord)) return std::nullopt;
  auto begin = at + kWord.size();
  if (begin >= text.size() || !isSpace(text[begin])) return std::nullopt;
  const auto most = std::min(text.size(), begin + kWindow);
  while (begin < most && isSpace(text[begin])) ++begin;
  auto end = begin;
  while (end < most && !isSpace(text[end])) ++end;
  if (!looksSecret(text.substr(begin, end - begin))) return std::nullopt;
  while (end < text.size() && !isSpace(text[end])) ++end;
  return Span{begin, end};
}
}  // namespace

void neverShow(std::string_view value) {
  // Of a URL only the password: the rest is what an operator has to see.
  if (const auto scheme = value.find("://"); scheme != std::string_view::npos) {
    if (const auto span = urlPassword(value, scheme)) neverShow(value.substr(span->begin, span->end - span->begin));
    return;
  }
  if (value.size() < kShortest || !looksSecret(value)) return;
  const std::lock_guard lock(mutex);
  auto& values = known();
  if (values.size() >= kMostKnown || std::find(values.begin(), values.end(), value) != values.end()) return;
  const auto place =
      std::find_if(values.begin(), values.end(), [&](const auto& other) { return other.size() < value.size(); });
  values.insert(place, std::string(value));
}

std::string redact(std::string_view given) {
  const auto text = withoutKnown(given);
  const std::string_view view(text);
  std::string result;
  for (std::size_t at = 0; at < view.size();) {
    std::optional<Span> span;
    for (const auto look : {pem, token, urlPassword, named, bearer}) {
      if (!span) span = look(view, at);
    }
    if (!span) {
      result += view[at++];
      continue;
    }
    result += view.substr(at, span->begin - at);
    result += kInstead;
    at = span->end;
  }
  return result;
}

}  // namespace aragora
