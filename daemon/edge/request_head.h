// Private to daemon/edge: the head of a request as Beast parsed it, made a web::Request.
#pragma once

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include "daemon/web/message.h"

namespace aragora::edge {

// Method, host, path and query. Answers status and reason for what Beast does not refuse by itself (RFC 9112 sections
// 2.3, 3.2, 6.1; RFC 9110 section 9.1).
std::optional<std::pair<int, std::string>> readRequestHead(
    const boost::beast::http::request<boost::beast::http::string_body>& head, web::Request& request);

}  // namespace aragora::edge
