// Private to daemon/edge: the head of a request as it was sent and as Beast parsed it, made a Request.
#pragma once

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include "daemon/edge/exchange.h"

namespace aragora::edge {

// What the bytes of a head show and Beast's parser smooths over: obsolete line folding (RFC 9112 section 5.2).
std::optional<Refusal> readRawHead(std::string_view bytes);
// Headers, method, host, path and query into `request`; what Beast does not refuse by itself (RFC 9112 sections 2.3,
// 3.2, 6.1, 6.3; RFC 9110 section 9.1).
std::optional<Refusal> readRequestHead(const boost::beast::http::request<boost::beast::http::string_body>& head,
                                       Request& request);

}  // namespace aragora::edge
