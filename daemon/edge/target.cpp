#include "daemon/edge/target.h"

#include "common/base/text.h"

namespace aragora::edge {

namespace {
std::optional<std::string> percentDecode(std::string_view text, bool plus_is_space) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const auto byte = i + 2 < text.size() ? fromHex(text.substr(i + 1, 2)) : std::nullopt;
      if (!byte) return std::nullopt;
      c = (*byte)[0];
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') return std::nullopt;
    result += c;
  }
  return validUtf8(result) ? std::optional(result) : std::nullopt;
}
}  // namespace

std::optional<Target> parseTarget(std::string_view target) {
  if (!startsWith(target, "/")) return std::nullopt;
  const auto question = target.find('?');
  auto path = percentDecode(target.substr(0, question), false);
  if (!path) return std::nullopt;
  Target result{canonicalPath(*path), {}};
  if (question == std::string_view::npos) return result;
  for (const auto& pair : split(target.substr(question + 1), '&')) {
    const auto equals = pair.find('=');
    auto name = percentDecode(std::string_view(pair).substr(0, equals), true);
    auto value = equals == std::string::npos ? std::optional<std::string>("")
                                             : percentDecode(std::string_view(pair).substr(equals + 1), true);
    if (!name || !value) return std::nullopt;
    result.query[*name] = *value;
  }
  return result;
}

std::string canonicalPath(std::string_view path) {
  std::string result(path);
  for (const auto* version : {"/api/v1/", "/api/v2/"}) {
    if (startsWith(result, version)) result = "/api/" + result.substr(8);
  }
  if (result.size() > 1 && result.back() == '/') result.pop_back();
  return result;
}

}  // namespace aragora::edge
