// The syntax of X-Forwarded-For and of Forwarded (RFC 7239). Private to common/net, and its fuzzer's. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace aragora::net {

struct Hop {
  std::string node;   // as written, unquoted; empty when the element does not say
  std::string proto;  // lower case
};

// Throw Error(Validation) for more than 1,024 bytes or 32 hops; the second also for what RFC 7239 does not allow.
std::vector<Hop> parseXForwardedFor(const std::vector<std::string_view>& lines);
std::vector<Hop> parseForwarded(const std::vector<std::string_view>& lines);

}  // namespace aragora::net
