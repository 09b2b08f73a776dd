// What a request is about (RFC 9112 section 3.2): percent-decoded path and query, and the host that is meant.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace aragora::edge {

struct Target {
  std::string path;
  std::map<std::string, std::string> query;
  std::optional<std::string> repeated =
      {};  // a parameter that is given more than once: which value is meant is a guess
};
// nullopt when it is malformed: bad escape, NUL, not UTF-8, no leading slash, a fragment.
std::optional<Target> parseTarget(std::string_view target);
// /api/v1/x and /api/v2/x are /api/x; one trailing slash is dropped.
std::string canonicalPath(std::string_view path);

// A host and perhaps a port (RFC 3986 sections 3.2.2 and 3.2.3) as they were written, without the colon of an empty
// port. nullopt for what is neither, for no host at all, and for user information (RFC 9110 section 4.2.4).
std::optional<std::string> parseAuthority(std::string_view text);

}  // namespace aragora::edge
