// What a deployment shows everybody: its state, its certificate and protocols.
#include <algorithm>

#include "common/base/text.h"
#include "common/base/version.h"
#include "common/net/resolve.h"
#include "common/probe/look.h"

namespace aragora::probe {

namespace {
constexpr std::int64_t kDay = 86'400'000'000LL;
constexpr std::int64_t kRenewalDays = 21;
// Whether every address of the host itself says that nobody listens: silence is no answer.
bool nobodyListens(const net::Url& url, const net::Limits& limits) {
  const auto addresses = net::resolve(url.host, url.port, limits);
  return std::all_of(addresses.begin(), addresses.end(), [&](const net::SocketAddress& address) {
    try {
      const net::Stream open({net::numeric(address), url.port}, limits);
      return false;
    } catch (const net::Failure& failure) {
      return failure.portClosed();
    }
  });
}

// What stands in the way of the certificate, seen without saying anything over the connection.
Seen whyUntrusted(const Visit& visit, const net::Failure& failure) {
  const auto& url = visit.site.url();
  const auto looking = net::tlsContext({visit.site.tls().authorities, net::TlsPurpose::LookAtCertificate});
  const auto shown = net::Stream({url.host, url.port, looking}, visit.site.limits()).peer();
  if (shown && shown->not_after < nowMicros())
    return failed(fmt::format("it expired {} ago ({})", counted((nowMicros() - shown->not_after) / kDay, "day"),
                              toIso(shown->not_after)),
                  "renew it, and let the server read it again");
  if (shown && shown->not_before > nowMicros())
    return failed(fmt::format("it is not valid before {}", toIso(shown->not_before)), "check the clocks");
  return failed(
      fmt::format("{}{}", failure.what(),
                  shown ? fmt::format(" (it is of {}, signed by {})", shown->subject, shown->issuer) : std::string()),
      "have one made for this name by an authority that clients trust; --ca names one of your own");
}
}  // namespace

Seen withoutTls(const Visit& visit) {
  if (visit.site.local())
    return unverified("asked on this machine without TLS", "ask the https:// address that clients use");
  return failed("the address is not encrypted", "put TLS before it, and ask the https:// address");
}

Seen lookAtHealth(Visit& visit) {
  const auto answer = visit.site.get("/api/health");
  const auto status = jsonTextOr(answer.object(), "status", "");
  if (answer.status == 200 && status == "healthy") return proved("healthy");
  if (answer.status == 200 && !status.empty())
    return failed(fmt::format("it calls itself {}{}", printable(status, 40),
                              jsonText(answer.object(), "reason")
                                  ? ": " + printable(jsonTextOr(answer.object(), "reason", ""), 200)
                                  : ""),
                  "see: aragora validate-env");
  if (answer.status == 429) return *inTheWay(visit, answer);
  return failed(fmt::format("GET /api/health {}", said(answer)), "is this the address of a deployment?");
}

Seen lookAtReadiness(Visit& visit) {
  const auto answer = visit.site.get("/api/ready");
  if (answer.status == 429) return *inTheWay(visit, answer);
  const auto object = answer.object();
  const auto agents = printable(jsonTextOr(object, "agents", ""), 40);
  if (answer.status == 200 && jsonTextOr(object, "status", "") == "ready" &&
      jsonTextOr(object, "database", "") == "connected" && !agents.empty())
    return proved(fmt::format("ready: database connected, agents {}", agents));
  if (jsonFlagOr(object, "draining", false)) return failed("it is being stopped", "ask again when it has started");
  return failed(
      fmt::format("GET /api/ready {} (database {}, agents {})", said(answer),
                  printable(jsonTextOr(object, "database", "?"), 40), printable(jsonTextOr(object, "agents", "?"), 40)),
      "see: aragora validate-env");
}

Seen lookAtVersion(Visit& visit) {
  const auto answer = visit.site.get("/api/version");
  if (answer.status == 429) return *inTheWay(visit, answer);
  const auto object = answer.object();
  const auto version = printable(jsonTextOr(object, "version", ""), 60);
  if (answer.status != 200 || jsonTextOr(object, "name", "") != "aragora" || version.find_first_of("0123456789") != 0)
    return failed(fmt::format("GET /api/version {}", said(answer)), "is this the address of a deployment?");
  visit.recognised = true;
  return proved(version == kVersion ? version : fmt::format("{} (this program is {})", version, kVersion));
}

Seen lookAtCertificate(Visit& visit) {
  if (!visit.site.encrypted()) return withoutTls(visit);
  const auto& url = visit.site.url();
  try {
    const auto shown = net::Stream({url.host, url.port, net::tlsContext(visit.site.tls())}, visit.site.limits()).peer();
    const auto days = (shown->not_after - nowMicros()) / kDay;
    const auto text = fmt::format("trusted, one of {}, valid for {}", url.host, counted(days, "day"));
    if (days >= kRenewalDays) return proved(text);
    return {Outcome::Warning, text, "renew it: certbot renew"};
  } catch (const net::Failure& failure) {
    if (failure.cause() != net::Cause::Untrusted) throw visit.site.explained(failure);
    return whyUntrusted(visit, failure);
  }
}

Seen lookAtOldProtocols(Visit& visit) {
  if (!visit.site.encrypted()) return withoutTls(visit);
  const auto& url = visit.site.url();
  try {
    const net::Stream old({url.host, url.port, net::tlsContext({{}, net::TlsPurpose::TryOldProtocols})},
                          visit.site.limits());
    return failed("TLS 1.1 or older is accepted", "allow TLS 1.2 and 1.3 only (nginx: ssl_protocols TLSv1.2 TLSv1.3)");
  } catch (const net::Failure& failure) {
    if (failure.cause() != net::Cause::Broken) throw visit.site.explained(failure);
  }
  // What breaks off whatever is spoken has not refused the old protocols.
  const auto newer = net::tlsContext({{}, net::TlsPurpose::LookAtCertificate});
  try {
    const net::Stream shown({url.host, url.port, newer}, visit.site.limits());
  } catch (const net::Failure& failure) {
    return unverified(fmt::format("it breaks off TLS 1.2 and 1.3 as well: {}", failure.what()), "try again");
  }
  return proved("TLS 1.2 or newer only");
}

Seen lookAtRedirect(Visit& visit) {
  if (!visit.site.encrypted()) return withoutTls(visit);
  auto url = visit.site.url();
  if (!visit.options.clear_port && url.port != 443)
    return unverified("it is not known where this host answers HTTP", "say it: --http-port 80");
  url.scheme = "http";
  url.port = visit.options.clear_port.value_or(80);
  url.user_info.clear();
  try {
    const auto answer = visit.site.getElsewhere(url);
    const auto location = net::Url::parse(answer.field("location"));
    if (answer.status == 429) return usedUp();
    if (answer.status >= 300 && answer.status < 400 && location && location->scheme == "https" &&
        location->user_info.empty())
      return location->host == visit.site.url().host
                 ? proved(fmt::format("{} to https://{}", answer.status, location->authority()))
                 : failed(fmt::format("HTTP leads to another host: {}", location->host), "redirect to the same host");
    return failed(fmt::format("http://{} answers {} instead of leading to HTTPS", url.authority(), answer.status),
                  "redirect every request to https://");
  } catch (const net::Failure& failure) {
    if (failure.cause() != net::Cause::NotReached) throw;
    if (nobodyListens(url, visit.site.limits())) return proved("nothing answers HTTP");
    return unverified(fmt::format("whether HTTP is answered is not known from here: {}", failure.what()),
                      "ask from where clients are");
  }
}

}  // namespace aragora::probe
