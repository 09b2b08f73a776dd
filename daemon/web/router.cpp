#include "daemon/web/router.h"

#include "common/base/text.h"

namespace aragora::web {

namespace {
std::vector<std::string> segmentsOf(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const auto end = path.find('/');
    segments.emplace_back(path.substr(0, end));
    path.remove_prefix(end == std::string_view::npos ? path.size() : end);
  }
  return segments;
}

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

void Router::add(Route route) {
  route.segments = segmentsOf(route.pattern);
  routes_.push_back(std::move(route));
}

Match Router::match(std::string_view method, std::string_view path) const {
  Match result;
  const auto segments = segmentsOf(path);
  for (const auto& route : routes_) {
    if (route.segments.size() != segments.size()) continue;
    std::map<std::string, std::string> parameters;
    bool fits = true;
    for (std::size_t i = 0; i < segments.size() && fits; ++i) {
      const auto& pattern = route.segments[i];
      if (startsWith(pattern, "{"))
        parameters[pattern.substr(1, pattern.size() - 2)] = segments[i];
      else
        fits = pattern == segments[i];
    }
    if (!fits) continue;
    if (route.method == method) {
      result.route = &route;
      result.parameters = std::move(parameters);
      return result;
    }
    result.allowed.push_back(route.method);
  }
  return result;
}

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

}  // namespace aragora::web
