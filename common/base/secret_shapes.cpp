#include "common/base/secret_shapes.h"

#include <algorithm>
#include <string>

#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::size_t kShortest = 8;
constexpr std::size_t kLongWord = 20;  // words of prose are shorter
constexpr std::size_t kLongName = 12;  // and so are names such as PostgreSQL and OpenRouter
constexpr std::size_t kWindow = 4096;  // looked ahead to tell whether something is secret, so that the work is linear

bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isOfBase64(char c) { return isLetter(c) || isDigit(c) || c == '+' || c == '/'; }
bool isOfToken(char c) { return isOfBase64(c) || c == '-' || c == '_' || c == '.' || c == '='; }
bool isBlank(char c) { return c == ' ' || c == '\t'; }
bool isSpace(char c) { return isBlank(c) || c == '\n' || c == '\r'; }
bool isQuote(char c) { return c == '"' || c == '\''; }
char lowered(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool anyDigit(std::string_view text) { return std::any_of(text.begin(), text.end(), isDigit); }
bool allDigits(std::string_view text) { return std::all_of(text.begin(), text.end(), isDigit); }

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
         std::equal(lower_word.begin(), lower_word.end(), text.begin(), [](char a, char b) { return a == lowered(b); });
}

// What providers put before their tokens, so that they are found; `exactly` where it is a word otherwise.
struct Prefix {
  std::string_view text;
  std::size_t least = kShortest;
  bool exactly = false;
};
constexpr Prefix kPrefixes[] = {{"sk-"},
                                {"eyj"},
                                {"ara_"},
                                {"arat_"},
                                {"rt_"},
                                {"age-secret-key-"},
                                {"ghp_"},
                                {"gho_"},
                                {"ghu_"},
                                {"ghs_"},
                                {"ghr_"},
                                {"github_pat_"},
                                {"xoxb-"},
                                {"xoxa-"},
                                {"xoxp-"},
                                {"xoxr-"},
                                {"xoxs-"},
                                {"xoxe"},
                                {"xapp-"},
                                {"glpat-"},
                                {"gldt-"},
                                {"hvs.", 16},
                                {"hvb.", 16},
                                {"whsec_"},
                                {"sk_live_"},
                                {"sk_test_"},
                                {"rk_live_"},
                                {"AIza", 30, true},
                                {"npm_", 30, true},
                                {"SG.", 30, true},
                                {"AKIA", 16, true},
                                {"ASIA", 16, true},
                                {"dckr_pat_"}};

std::size_t endOfRun(std::string_view text, std::size_t at, bool (*is_of)(char)) {
  while (at < text.size() && is_of(text[at])) ++at;
  return at;
}

// The secret of an access key of AWS is 40 characters with nothing to know it by but the key beside it.
std::size_t withSecretOfAws(std::string_view text, std::size_t end) {
  constexpr std::size_t kSecret = 40;
  constexpr std::size_t kBetween = 60;
  const auto near = text.substr(0, std::min(text.size(), end + kBetween + kSecret + 1));
  for (auto at = end; at < near.size() && at < end + kBetween;) {
    const auto run = endOfRun(near, at, isOfBase64);
    const auto word = near.substr(at, run - at);
    if (word.size() == kSecret && anyDigit(word) && lower(word) != word && upper(word) != word) return run;
    at = run + 1;
  }
  return end;
}

std::optional<Span> token(std::string_view text, std::size_t at) {
  if (at > 0 && (isLetter(text[at - 1]) || isDigit(text[at - 1]))) return std::nullopt;
  const char first = lowered(text[at]);
  for (const auto& prefix : kPrefixes) {
    if (lowered(prefix.text.front()) != first) continue;
    if (prefix.exactly ? !startsWith(text.substr(at), prefix.text) : !sameIgnoringCase(text.substr(at), prefix.text))
      continue;
    const auto begin = at + prefix.text.size();
    const auto end = endOfRun(text, begin, isOfToken);
    if (end - begin < prefix.least || (prefix.exactly && !anyDigit(text.substr(begin, end - begin)))) continue;
    const bool aws = prefix.text == "AKIA" || prefix.text == "ASIA";
    return Span{at, aws ? withSecretOfAws(text, end) : end};
  }
  return std::nullopt;
}

// How long it is: to its quote, or to what separates it from the next; never beyond its line. A quote that stands in a
// text inside another has `escapes` backslashes before it.
std::size_t endOfValue(std::string_view text, char quote, std::size_t escapes = 0) {
  std::size_t end = 0;
  for (; end < text.size() && text[end] != '\n' && text[end] != '\r'; ++end) {
    if (quote == '\0') {
      if (isSpace(text[end]) || text[end] == '&' || text[end] == ';') break;
    } else if (escapes == 0) {
      if (text[end] == quote) break;
      if (text[end] == '\\' && end + 1 < text.size() && text[end + 1] != '\n') ++end;
    } else {
      auto after = end;
      while (after < text.size() && text[after] == '\\') ++after;
      if (after < text.size() && text[after] == quote && after - end <= escapes) break;
      end = after == end ? end : after < text.size() && text[after] == quote ? after : after - 1;
    }
  }
  return end;
}

enum class Tells { Alone, Weakly, Header };
struct Name {
  std::string_view text;  // _ is also -, or nothing
  Tells tells = Tells::Alone;
};
// Weakly: of other things, too, such as a directory or a count.
constexpr Name kNames[] = {{"password"},
                           {"passwd"},
                           {"passphrase"},
                           {"pass_phrase"},
                           {"secret"},
                           {"secret_key"},
                           {"token"},
                           {"api_key"},
                           {"encryption_key"},
                           {"access_key"},
                           {"private_key"},
                           {"signing_key"},
                           {"pwd", Tells::Weakly},
                           {"pass", Tells::Weakly},
                           {"session", Tells::Weakly},
                           {"session_id", Tells::Weakly},
                           {"session_key", Tells::Weakly},
                           {"cookie", Tells::Header}};

std::size_t lengthOf(const Name& name, std::string_view text) {
  std::size_t at = 0;
  for (const char c : name.text) {
    if (c == '_' && at < text.size() && text[at] != '_' && text[at] != '-') continue;
    if (at >= text.size() || (c == '_' ? text[at] != '_' && text[at] != '-' : lowered(text[at]) != c)) return 0;
    ++at;
  }
  return at;
}

// dbpass and DB_PWD, not bypass.
bool beginsName(std::string_view text, std::size_t at) {
  if (at == 0 || !(isLetter(text[at - 1]) || isDigit(text[at - 1]))) return true;
  for (const std::string_view owner : {"db", "user", "smtp", "mail", "sql", "redis", "pg", "root", "admin"}) {
    if (at >= owner.size() && sameIgnoringCase(text.substr(at - owner.size(), owner.size()), owner)) return true;
  }
  return false;
}

struct Opened {
  std::size_t escapes = 0;
  char quote = '\0';
};
Opened quoteAt(std::string_view text, std::size_t& at) {
  auto quote = at;
  while (quote < text.size() && text[quote] == '\\' && quote - at < 16) ++quote;
  if (quote >= text.size() || !isQuote(text[quote])) return {};
  const Opened opened{quote - at, text[quote]};
  at = quote + 1;
  return opened;
}

struct Found {
  Tells tells = Tells::Alone;
  std::size_t end = 0;
  bool dashed = false;  // x-api-key: a header
};
std::optional<Found> nameAt(std::string_view text, std::size_t at) {
  if (std::string_view("pstaec").find(lowered(text[at])) == std::string_view::npos) return std::nullopt;
  std::optional<Found> found;
  for (const auto& name : kNames) {
    const auto length = lengthOf(name, text.substr(at));
    if (length == 0 || (name.tells == Tells::Weakly && !beginsName(text, at))) continue;
    if (!found || at + length > found->end)
      found = {name.tells, at + length, text.substr(at, length).find('-') != std::string_view::npos};
  }
  return found;
}

bool isOrdinary(std::string_view value, Tells tells) {
  if (tells != Tells::Weakly) return false;
  return value.size() < 3 || value.front() == '/' || value.front() == '.' || value.front() == '~' ||
         value.front() == '$' || (value.size() < 6 && allDigits(value));
}

// Of `name=value`, `name = 'va l\'ue'`, `"name": "value"`, `\"name\":\"value\"` and `name: value`.
std::optional<Span> named(std::string_view text, std::size_t at) {
  const auto name = nameAt(text, at);
  if (!name) return std::nullopt;
  auto after = name->end;
  const bool quoted_name = quoteAt(text, after).quote != '\0';
  const auto skip = [&, most = after + kWindow] {
    while (after < std::min(most, text.size()) && isBlank(text[after])) ++after;
  };
  skip();
  if (after >= text.size() || (text[after] != '=' && text[after] != ':')) return std::nullopt;
  const bool assigned = text[after] == '=' || quoted_name || name->dashed;
  const bool header = name->tells == Tells::Header && text[after] == ':';
  ++after;
  skip();
  const auto opened = quoteAt(text, after);
  const auto begin = after;
  auto value = text.substr(begin, endOfValue(text.substr(begin, kWindow), opened.quote, opened.escapes));
  if (value.empty() || startsWith(value, kRedacted) || startsWith(value, "-----BEGIN") || isPlaceholder(value) ||
      isOrdinary(value, name->tells))
    return std::nullopt;
  if (header && opened.quote == '\0') {
    if (value.find('=') == std::string_view::npos) return std::nullopt;
    return Span{begin, std::min(text.find_first_of("\r\n\"'", begin), text.size())};
  }
  if (!assigned && opened.quote == '\0' && !looksSecret(value)) return std::nullopt;
  const auto end = begin + endOfValue(text.substr(begin), opened.quote, opened.escapes);
  // A key that begins in it is hidden to its end, which is on another line.
  const auto key = value.find("-----BEGIN");
  return Span{begin, key == std::string_view::npos ? end : begin + key};
}

// After Bearer, and Basic.
std::optional<Span> authorization(std::string_view text, std::size_t at) {
  std::size_t begin = 0;
  for (const std::string_view word : {"bearer", "basic"}) {
    if (sameIgnoringCase(text.substr(at), word)) begin = at + word.size();
  }
  if (begin == 0 || begin >= text.size() || !isSpace(text[begin])) return std::nullopt;
  const auto most = std::min(text.size(), begin + kWindow);
  while (begin < most && isSpace(text[begin])) ++begin;
  auto end = begin;
  while (end < most && !isSpace(text[end])) ++end;
  if (!looksSecret(text.substr(begin, end - begin))) return std::nullopt;
  while (end < text.size() && !isSpace(text[end])) ++end;
  return Span{begin, end};
}

// Of ?key=… and &sig=…: what is signed or opened with it is asked for that way.
std::optional<Span> ofQuery(std::string_view text, std::size_t at) {
  if (text[at] != '?' && text[at] != '&' && text[at] != ';') return std::nullopt;
  for (const std::string_view name :
       {"key", "sig", "signature", "auth", "x-amz-signature", "x-goog-signature", "code"}) {
    const auto begin = at + 1 + name.size();
    if (!sameIgnoringCase(text.substr(at + 1), name) || begin >= text.size() || text[begin] != '=') continue;
    auto end = begin + 1;
    while (end < text.size() && !isSpace(text[end]) &&
           std::string_view("&;#\"'<>\\").find(text[end]) == std::string_view::npos)
      ++end;
    const auto value = text.substr(begin + 1, end - begin - 1);
    if (value.size() < 4 || startsWith(value, kRedacted) || isPlaceholder(value)) return std::nullopt;
    return Span{begin + 1, end};
  }
  return std::nullopt;
}

// A line of .pgpass: host:port:database:user:password, a colon in one of them after a backslash.
std::optional<Span> ofPgpass(std::string_view text, std::size_t at) {
  if (at > 0 && !isSpace(text[at - 1])) return std::nullopt;
  std::size_t colons = 0;
  std::size_t begin = at;
  auto end = at;
  for (; end < std::min(text.size(), at + kWindow) && !isSpace(text[end]); ++end) {
    if (text[end] == '\\' && end + 1 < text.size() && !isSpace(text[end + 1])) {
      ++end;
      continue;
    }
    if (text[end] != ':' || colons == 4) continue;
    const auto field = text.substr(begin, end - begin);
    const bool any = field == "*";
    if (field.empty() || (colons == 0 && !any && field.size() < 3) ||
        (colons == 1 && !any && (field.size() < 2 || field.size() > 5 || !allDigits(field))) ||
        (colons > 1 && !any && allDigits(field)))
      return std::nullopt;
    ++colons;
    begin = end + 1;
  }
  if (colons < 4 || begin >= end || startsWith(text.substr(begin), kRedacted)) return std::nullopt;
  return Span{begin, end};
}

// A user of http alone is a token.
std::optional<Span> tokenOfUrl(std::string_view text, std::size_t at) {
  if (text.compare(at, 3, "://") != 0 || at < 4) return std::nullopt;
  const bool http =
      sameIgnoringCase(text.substr(at - 4, 4), "http") || (at > 4 && sameIgnoringCase(text.substr(at - 5, 5), "https"));
  const auto authority = text.substr(at + 3, kWindow);
  const auto last = authority.find_first_of("@:/?# \t\r\n\"'");
  if (!http || last == std::string_view::npos || authority[last] != '@') return std::nullopt;
  if (!looksSecret(authority.substr(0, last))) return std::nullopt;
  return Span{at + 3, at + 3 + last};
}
}  // namespace

bool looksSecret(std::string_view value) {
  while (!value.empty() && std::string_view(".,;:!?)").find(value.back()) != std::string_view::npos)
    value.remove_suffix(1);
  if (value.size() < 6 || value.front() == '/' || value.front() == '$' || value.front() == '<') return false;
  const bool capitals = std::any_of(value.begin() + 1, value.end(), [](char c) { return c >= 'A' && c <= 'Z'; }) &&
                        std::any_of(value.begin(), value.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  return anyDigit(value) || (capitals && value.size() >= kLongName) || value.size() >= kLongWord;
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
  if (port.size() < value.size() && allDigits(port)) return std::nullopt;
  if (value == "password" || value == "[password]" || value == kRedacted) return std::nullopt;
  return Span{begin + colon + 1, begin + last};
}

std::optional<Span> credentialAt(std::string_view text, std::size_t at) {
  const auto of = [&](const Span& span) { return text.substr(span.begin, span.end - span.begin); };
  if (const auto key = pem(text, at); key && of(*key).find("-----END") != std::string_view::npos) return key;
  auto found = token(text, at);
  const bool bare = found.has_value();
  if (!found) found = authorization(text, at);
  if (!found) return std::nullopt;
  // A quote or bracket after it is the text's.
  found->end = endOfRun(text, found->begin, isOfToken);
  return bare || looksSecret(of(*found)) ? found : std::nullopt;
}

std::optional<Span> secretAt(std::string_view text, std::size_t at) {
  for (const auto look : {pem, encodedPem, token, urlPassword, tokenOfUrl, ofQuery, named, authorization, ofPgpass}) {
    if (const auto span = look(text, at)) return span;
  }
  return std::nullopt;
}

}  // namespace aragora
