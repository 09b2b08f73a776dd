// Which pages of other origins may call us (the Fetch standard's CORS protocol): exact matches of a list, loopback
// origins where the list is empty and anonymous access is allowed. Immutable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/edge/message.h"

namespace aragora::web {

class Cors {
 public:
  Cors() = default;
  Cors(std::vector<std::string> origins, bool loopback_allowed)
      : origins_(std::move(origins)), loopback_allowed_(loopback_allowed) {}

  bool allows(std::string_view origin) const;
  edge::Response preflight(std::string_view origin) const;
  void addHeaders(std::string_view origin, bool preflight, edge::Response& response) const;

 private:
  std::vector<std::string> origins_;
  bool loopback_allowed_ = false;
};

}  // namespace aragora::web
