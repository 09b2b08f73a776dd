#include "common/probe/simple.h"

#include "common/net/failure.h"
#include "common/net/http_client.h"
#include "common/net/url.h"

namespace aragora::probe {

namespace {
constexpr std::size_t kLongestBody = 1U << 20;
}  // namespace

Reply fetch(const std::string& url, const net::TlsOptions& tls, std::chrono::milliseconds timeout,
            const Secret& bearer) {
  const auto parsed = net::Url::parse(url);
  if (!parsed || (parsed->scheme != "http" && parsed->scheme != "https") || !parsed->user_info.empty())
    throw Error(Code::Usage, "the url cannot be asked", "write http://host/path or https://host/path");
  const net::HttpClient client({.tls = tls});
  Reply reply;
  net::Request request{.url = *parsed, .limits = {deadlineIn(timeout), timeout, {}}};
  if (!bearer.empty()) request.headers.emplace_back("Authorization", "Bearer " + bearer.reveal());
  reply.status = client
                     .exchange(request, {.body =
                                             [&](std::string_view bytes) {
                                               if (reply.body.size() + bytes.size() > kLongestBody)
                                                 throw net::Failure(net::Cause::Malformed, "the answer is too long");
                                               reply.body += bytes;
                                             }})
                     .status;
  return reply;
}

void reachPort(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout) {
  const net::Stream stream({host, port}, {deadlineIn(timeout), timeout, {}});
}

ShownCertificate certificateOf(const std::string& host, std::uint16_t port, const std::string& authorities,
                               std::chrono::milliseconds timeout) {
  const net::Limits limits{deadlineIn(timeout), timeout, {}};
  try {
    return {net::Stream({host, port, net::tlsContext({authorities})}, limits).peer()->not_after};
  } catch (const net::Failure& failure) {
    if (failure.cause() != net::Cause::Untrusted) throw;
    const auto looking = net::tlsContext({authorities, net::TlsPurpose::LookAtCertificate});
    return {net::Stream({host, port, looking}, limits).peer()->not_after, failure.what()};
  }
}

}  // namespace aragora::probe
