// A request as it came over the wire and the answer to it: plain values that know neither sockets nor routes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aragora::edge {

struct Upgraded;  // upgrade.h

struct Request {
  // One of those that are taken, in upper case; empty when it was none. HEAD arrives as GET with `head` set.
  std::string method;
  bool head = false;
  std::string target;                        // as it was sent, without the authority
  std::string path;                          // decoded, without the version segment: /api/v1/debates is /api/debates
  std::map<std::string, std::string> query;  // decoded
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, in the order of the wire
  std::string host;     // and port, as the client means them; empty when HTTP/1.0 says nothing
  std::string peer;     // address of the other end of the connection; 127.0.0.1 for a local socket
  bool secure = false;  // TLS; here, or at a proxy that is trusted
  std::string body;

  // The first of that name (lower case), empty when there is none.
  std::string_view header(std::string_view name) const;
  // All of that name: a list may be spread over several lines (RFC 9110 section 5.3).
  std::vector<std::string_view> lines(std::string_view name) const;
  // Those as the one list that they are.
  std::string list(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::shared_ptr<const std::string> shared_body;  // cached bodies, shared with the cache; used instead of `body`
  std::vector<std::pair<std::string, std::string>> headers;
  // Of a page of our own, in place of the policy under which a browser runs, shows and sends nothing.
  std::string content_policy = {};
  // Takes the connection over instead of an answer: called in its I/O thread.
  std::function<void(Upgraded&&)> upgrade;

  std::string_view content() const { return shared_body ? std::string_view(*shared_body) : std::string_view(body); }
};

}  // namespace aragora::edge
