// The head of an HTTP/1.1 request. Whatever a target or a header is made of, it stays within its line.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/net/url.h"

namespace aragora::net {

using Headers = std::vector<std::pair<std::string, std::string>>;

// Lines up to the empty one, which is not in it; Host and User-Agent are. Throws Error(Validation) for a target with a
// byte that none may have, Error(Config) for such a header, whose value is not shown.
std::string requestHead(std::string_view method, const Url& url, const Headers& headers);

}  // namespace aragora::net
