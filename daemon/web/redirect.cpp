#include "daemon/web/redirect.h"

#include <algorithm>

#include "common/base/text.h"
#include "daemon/web/errors.h"

namespace aragora::web {

std::string hostWithoutPort(std::string_view authority) {
  if (startsWith(authority, "[")) return lower(authority.substr(1, authority.find(']') - 1));
  return lower(authority.substr(0, authority.find(':')));
}

class Redirect::Exchange : public edge::Exchange {
 public:
  Exchange(const Redirect& redirect, edge::Request request) : redirect_(redirect), request_(std::move(request)) {}

  std::optional<edge::Response> admit() override {
    const auto location = redirect_.locationOf(request_);
    if (!location) return refuse({400, "this host is not served here"});
    edge::Response response;
    response.status = 308;
    response.content_type = "text/plain; charset=utf-8";
    response.body = "see " + *location + "\n";
    response.headers.emplace_back("Location", *location);
    return response;
  }
  std::size_t bodyLimit() const override { return 0; }
  void setBody(std::string) override {}
  std::optional<edge::Response> answerNow() override { return admit(); }
  edge::Response answer() override { return *admit(); }
  edge::Response refuse(const edge::Refusal& refusal) override { return refusalResponse(refusal, ""); }
  void finish(edge::Response&, std::chrono::steady_clock::duration) override {}

 private:
  const Redirect& redirect_;
  edge::Request request_;
};

std::unique_ptr<edge::Exchange> Redirect::open(edge::Request request) {
  return std::make_unique<Exchange>(*this, std::move(request));
}

std::optional<std::string> Redirect::locationOf(const edge::Request& request) const {
  const auto host = hostWithoutPort(request.host);
  const auto options = options_.get();
  const bool ours = std::find(options->hosts.begin(), options->hosts.end(), host) != options->hosts.end() ||
                    (options->certificate && options->certificate->covers(host));
  if (host.empty() || !ours) return std::nullopt;
  const bool v6 = host.find(':') != std::string::npos;
  const auto authority = v6 ? "[" + host + "]" : host;
  const auto port = options->port == 0 || options->port == 443 ? std::string() : fmt::format(":{}", options->port);
  return fmt::format("https://{}{}{}", authority, port, request.target);
}

}  // namespace aragora::web
