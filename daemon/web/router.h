// Routes: method and path pattern to a plain function. A handler that touches no database runs in the I/O thread; the
// others go to the worker pool. The table is built before the listener starts and is read-only afterwards.
#pragma once

#include <functional>

#include "daemon/web/message.h"

namespace aragora::web {

using Handler = std::function<Response(const Request&)>;

struct Route {
  std::string method;
  std::string pattern;  // /api/debates/{id}/events
  Handler handler;
  bool inline_handler = false;  // never blocks
  // Answers from memory or not at all, in the I/O thread; asked before the handler, which then runs in a worker.
  std::function<std::optional<Response>(const Request&)> cached = {};
  bool open = false;         // needs no credentials: health, readiness, the API description
  bool counted = true;       // by the rate limit
  bool own_account = false;  // changes nothing but the caller's own account: open to every role
  std::size_t body_limit = 1U << 20;
  // Made by add():
  std::vector<std::string> segments;
};

struct Match {
  const Route* route = nullptr;
  std::map<std::string, std::string> parameters;
  std::vector<std::string> allowed;  // methods of the path, when none matched
};

class Router {
 public:
  void add(Route route);
  Match match(std::string_view method, std::string_view path) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
};

// Percent-decoded path and query of a request target. nullopt when it is malformed (bad escape, NUL, no leading slash).
struct Target {
  std::string path;
  std::map<std::string, std::string> query;
};
std::optional<Target> parseTarget(std::string_view target);
// /api/v1/x and /api/v2/x are /api/x; one trailing slash is dropped.
std::string canonicalPath(std::string_view path);

}  // namespace aragora::web
