// A connection that stops speaking HTTP: its socket, the request that asked for it, and its place among the open
// connections, which is free again when the last holder lets go of it.
#pragma once

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include <memory>
#include <string>
#include <vector>

#include "daemon/edge/stream.h"

namespace aragora::edge {

struct Upgraded {
  Stream socket;
  boost::beast::http::request<boost::beast::http::string_body> request;
  std::size_t thread = 0;                                    // whose I/O thread the socket lives in
  std::shared_ptr<void> place;                               // shared by nobody else: it is only counted
  std::vector<std::pair<std::string, std::string>> headers;  // of the answer
};

}  // namespace aragora::edge
