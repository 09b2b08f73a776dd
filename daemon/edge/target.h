// The request target (RFC 9112 section 3.2): percent-decoded path and query.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace aragora::edge {

struct Target {
  std::string path;
  std::map<std::string, std::string> query;
};
// nullopt when it is malformed: bad escape, NUL, not UTF-8, no leading slash.
std::optional<Target> parseTarget(std::string_view target);
// /api/v1/x and /api/v2/x are /api/x; one trailing slash is dropped.
std::string canonicalPath(std::string_view path);

}  // namespace aragora::edge
