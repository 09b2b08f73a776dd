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

}  // namespace aragora::web
