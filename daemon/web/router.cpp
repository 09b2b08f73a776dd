#include "daemon/web/router.h"

#include <set>

#include "common/base/text.h"
#include "daemon/edge/target.h"

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

// What stands for the {names} of a pattern, when the path fits it.
std::optional<std::map<std::string, std::string>> parametersOf(const std::vector<std::string>& pattern,
                                                               const std::vector<std::string>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  const auto named = [](const std::string& segment) { return startsWith(segment, "{"); };
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (!named(pattern[i]) && pattern[i] != path[i]) return std::nullopt;
  }
  std::map<std::string, std::string> parameters;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (named(pattern[i])) parameters[pattern[i].substr(1, pattern[i].size() - 2)] = path[i];
  }
  return parameters;
}
// Each once, and with what is answered wherever there is something.
void completeMethods(std::vector<std::string>& methods) {
  if (methods.empty()) return;
  std::set<std::string> all(methods.begin(), methods.end());
  if (all.count("GET") > 0) all.insert("HEAD");
  all.insert("OPTIONS");
  methods.assign(all.begin(), all.end());
}
}  // namespace

bool Router::enter(std::string& path) const {
  if (base_path_.empty()) return true;
  if (!startsWith(path, base_path_)) return false;
  const auto below = path.substr(base_path_.size());
  if (!below.empty() && below.front() != '/') return false;
  path = below.empty() ? "/" : edge::canonicalPath(below);
  return true;
}

void Router::add(Route route) {
  route.segments = segmentsOf(route.pattern);
  if (route.pattern.find('{') == std::string::npos)
    spelled_out_[route.pattern].push_back(routes_.size());
  else
    patterns_.push_back(routes_.size());
  routes_.push_back(std::move(route));
}

Match Router::match(std::string_view method, std::string_view path) const {
  Match result;
  if (const auto found = spelled_out_.find(std::string(path)); found != spelled_out_.end()) {
    result.pattern = found->first;
    for (const auto index : found->second) {
      if (routes_[index].method == method) {
        result.route = &routes_[index];
        return result;
      }
      result.allowed.push_back(routes_[index].method);
    }
    completeMethods(result.allowed);
    return result;
  }
  const auto segments = segmentsOf(path);
  for (const auto index : patterns_) {
    const auto& route = routes_[index];
    auto parameters = parametersOf(route.segments, segments);
    if (!parameters) continue;
    if (result.pattern.empty() || route.method == method) result.pattern = route.pattern;
    if (route.method == method) {
      result.route = &route;
      result.parameters = std::move(*parameters);
      return result;
    }
    result.allowed.push_back(route.method);
  }
  completeMethods(result.allowed);
  return result;
}

std::vector<std::string> Router::near(std::string_view path) const {
  const auto segments = segmentsOf(path);
  std::set<std::string> same;
  std::set<std::string> all;
  for (const auto& route : routes_) {
    all.insert(base_path_ + route.pattern);
    if (segments.size() > 1 && route.segments.size() > 1 && route.segments[0] == segments[0] &&
        route.segments[1] == segments[1])
      same.insert(base_path_ + route.pattern);
  }
  const auto& chosen = same.empty() ? all : same;
  return {chosen.begin(), chosen.end()};
}

}  // namespace aragora::web
