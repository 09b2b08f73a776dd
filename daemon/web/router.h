// Routes: method and path pattern to a plain function, and who may call it. A handler that touches no database runs in
// the I/O thread; the others go to the worker pool. The table is built before the listener starts and is read-only
// afterwards.
#pragma once

#include <functional>
#include <unordered_map>

#include "daemon/web/limits.h"
#include "daemon/web/request.h"

namespace aragora::web {

// How a route's refusals look: as everywhere here, or as clients of OpenAI's API read them.
enum class ErrorShape { Own, OpenAi };

using Handler = std::function<Response(const Request&)>;

struct Route {
  std::string method;
  std::string pattern;  // /api/debates/{id}/events
  accounts::Permission permission = accounts::Permission::Public;
  Handler handler;
  std::vector<std::string_view> query = {};  // the parameters it knows; others are refused
  bool inline_handler = false;               // never waits
  // Answers from memory or not at all, in the I/O thread; asked before the handler, which then runs in a worker.
  std::function<std::optional<Response>(const Request&)> cached = {};
  bool counted = true;  // by the rate limits
  std::size_t body_limit = 1U << 20;
  std::optional<Bucket> strictly = {};  // besides, by a limit of its own
  bool takes_credentials = false;       // in its body; those that it refuses are audited
  // A page of ours posts to it: from the same origin, listed or not. Never where being there is enough to be let in.
  bool own_page = false;
  // Whoever shows none is let in as nobody, and asked for them there (a WebSocket's first message).
  bool credentials_later = false;
  bool everywhere = false;  // outside the base path, too: who probes a daemon asks it directly
  ErrorShape errors = ErrorShape::Own;
  bool described = true;  // in the API's description; only what release builds do not have is left out
  // Made by add():
  std::vector<std::string> segments;
};

struct Match {
  const Route* route = nullptr;
  std::map<std::string, std::string> parameters;
  std::vector<std::string> allowed;  // methods of the path, HEAD and OPTIONS among them, when none matched
  std::string_view pattern = {};     // of the path, also when no method matched; empty: it leads nowhere
};

class Router {
 public:
  // Everything is served below `base_path` (/aragora), or at the root. Patterns are written without it.
  explicit Router(std::string base_path = {}) : base_path_(std::move(base_path)) {}
  const std::string& basePath() const { return base_path_; }
  // Takes the base path off. False for a path outside of it, which stays as it is.
  bool enter(std::string& path) const;
  // A path that is spelled out wins over one with {parameters}, whatever was added first.
  void add(Route route);
  Match match(std::string_view method, std::string_view path) const;
  // What there is below the same first two segments (/api/debates), or everywhere; sorted, each once, with the base
  // path.
  std::vector<std::string> near(std::string_view path) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::string base_path_;
  std::vector<Route> routes_;
  std::unordered_map<std::string, std::vector<std::size_t>> spelled_out_;  // by path: its methods
  std::vector<std::size_t> patterns_;
};

}  // namespace aragora::web
