#include "daemon/edge/response_head.h"

#include <boost/beast/http/status.hpp>

#include <ctime>

namespace aragora::edge {

namespace bhttp = boost::beast::http;

namespace {
constexpr std::string_view kSecurityHeaders =
    "Server: aragora\r\n"
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), microphone=(), geolocation=()\r\n"
    "X-XSS-Protection: 0\r\n";
constexpr std::string_view kNothing =
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n";

const std::string& dateHeader() {
  thread_local std::time_t at = 0;
  thread_local std::string text;
  const auto now = std::time(nullptr);
  if (now != at) {
    std::tm parts{};
    gmtime_r(&now, &parts);
    char buffer[64];
    std::strftime(buffer, sizeof buffer, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    text = buffer;
    at = now;
  }
  return text;
}

template <typename... Texts>
void append(std::string& head, const Texts&... texts) {
  (head.append(std::string_view(texts)), ...);
}
}  // namespace

void writeResponseHead(std::string& head, const Response& response, bool keep_alive, Framing framing) {
  const auto reason = bhttp::obsolete_reason(bhttp::int_to_status(static_cast<unsigned>(response.status)));
  head.clear();
  append(head, "HTTP/1.1 ", fmt::format_int(response.status).c_str(), " ", std::string_view(reason), "\r\n");
  head += dateHeader();
  head += kSecurityHeaders;
  // With no-referrer a browser would not say either that a form of ours comes from here (Fetch, "append a request
  // Origin header").
  if (response.content_policy.empty())
    head += kNothing;
  else
    append(head, "Content-Security-Policy: ", response.content_policy, "\r\nReferrer-Policy: strict-origin\r\n");
  if (response.status != 204) append(head, "Content-Type: ", response.content_type, "\r\n");
  if (response.status != 204 && framing == Framing::Length)
    append(head, "Content-Length: ", fmt::format_int(response.content().size()).c_str(), "\r\n");
  if (framing == Framing::Chunked) head += "Transfer-Encoding: chunked\r\n";
  for (const auto& [name, value] : response.headers) append(head, name, ": ", value, "\r\n");
  head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
}

}  // namespace aragora::edge
