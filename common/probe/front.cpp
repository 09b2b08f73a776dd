// What a deployment shows everybody: its state, its certificate, its headers, and what it keeps from strangers.
#include <algorithm>

#include "common/base/text.h"
#include "common/base/version.h"
#include "common/probe/look.h"

namespace aragora::probe {

namespace {
constexpr std::int64_t kDay = 86'400'000'000LL;
constexpr std::int64_t kRenewalDays = 21;
constexpr std::int64_t kLeastHsts = 15'768'000;  // half a year
constexpr const char* kForeign = "https://a-foreign-page.invalid";

Seen withoutTls(const Visit& visit) {
  if (visit.site.local())
    return unverified("asked on this machine without TLS", "ask the https:// address that clients use");
  return failed("the address is not encrypted", "put TLS before it, and ask the https:// address");
}

// The value of max-age in Strict-Transport-Security (RFC 6797, 6.1); nullopt when there is none.
std::optional<std::int64_t> maxAge(std::string_view header) {
  for (const auto& part : split(lower(header), ';')) {
    if (startsWith(part, "max-age=")) return parseInteger(replaceAll(part.substr(8), "\"", ""));
  }
  return std::nullopt;
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
  if (answer.status == 200 && jsonTextOr(object, "status", "") == "ready")
    return proved(fmt::format("ready: database {}, agents {}", printable(jsonTextOr(object, "database", "?"), 40),
                              printable(jsonTextOr(object, "agents", "?"), 40)));
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
  if (answer.status != 200 || jsonTextOr(object, "name", "") != "aragora" || version.empty())
    return failed(fmt::format("GET /api/version {}", said(answer)), "is this the address of a deployment?");
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
    if (failure.cause() != net::Cause::Untrusted) throw;
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
    if (failure.cause() != net::Cause::Broken) throw;
    return proved("TLS 1.2 or newer only");
  }
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
    if (answer.status >= 300 && answer.status < 400 && location && location->scheme == "https")
      return location->host == visit.site.url().host
                 ? proved(fmt::format("{} to https://{}", answer.status, location->authority()))
                 : failed(fmt::format("HTTP leads to another host: {}", location->host), "redirect to the same host");
    return failed(fmt::format("http://{} answers {} instead of leading to HTTPS", url.authority(), answer.status),
                  "redirect every request to https://");
  } catch (const net::Failure& failure) {
    if (failure.cause() != net::Cause::NotReached) throw;
    return proved("nothing answers HTTP");
  }
}

Seen lookAtContentPolicy(Visit& visit) {
  for (const auto* path : {"/api/health", "/"}) {
    const auto answer = visit.site.get(path);
    const auto policy = lower(answer.field("content-security-policy"));
    if (policy.empty())
      return failed(fmt::format("GET {} has no Content-Security-Policy", path),
                    "let the proxy pass the daemon's headers");
    if (policy.find("unsafe-eval") != std::string::npos)
      return failed(fmt::format("GET {} allows unsafe-eval", path), "take it out of the policy that the proxy sets");
  }
  return proved("there is one, without unsafe-eval");
}

Seen lookAtTransportSecurity(Visit& visit) {
  if (!visit.site.encrypted()) return withoutTls(visit);
  const auto answer = visit.site.get("/api/health");
  const auto age = maxAge(answer.field("strict-transport-security"));
  if (!age)
    return failed("there is no Strict-Transport-Security",
                  "let the proxy say X-Forwarded-Proto and be one of server.trusted_proxies, or set the header there");
  if (*age < kLeastHsts)
    return failed(fmt::format("max-age is {}, less than half a year", *age), "raise it to 63072000");
  return proved(fmt::format("max-age {}", *age));
}

Seen lookAtOtherHeaders(Visit& visit) {
  const auto answer = visit.site.get("/api/health");
  std::vector<std::string> missing;
  if (lower(answer.field("x-content-type-options")) != "nosniff")
    missing.emplace_back("X-Content-Type-Options: nosniff");
  const auto framing = lower(answer.field("x-frame-options"));
  if (framing != "deny" && framing != "sameorigin" &&
      answer.field("content-security-policy").find("frame-ancestors") == std::string_view::npos)
    missing.emplace_back("X-Frame-Options: DENY");
  if (answer.field("referrer-policy").empty()) missing.emplace_back("Referrer-Policy");
  if (missing.empty()) return proved("nosniff, no frames, a referrer policy");
  return failed("missing: " + join(missing, ", "), "let the proxy pass the daemon's headers");
}

Seen lookAtForeignOrigins(Visit& visit) {
  const Site::Headers page{{"Origin", kForeign}, {"Access-Control-Request-Method", "POST"}};
  for (const auto* method : {"GET", "OPTIONS"}) {
    const auto path = std::string_view(method) == "GET" ? "/api/health" : "/api/debates";
    const auto allowed = visit.site.ask(method, path, As::Stranger, page).field("access-control-allow-origin");
    if (!allowed.empty())
      return failed(fmt::format("{} {} from a foreign page is answered with Access-Control-Allow-Origin: {}", method,
                                path, printable(allowed, 80)),
                    "list the origins in server.allowed_origins, and let no proxy add that header");
  }
  return proved("not answered");
}

Seen lookAtMetrics(Visit& visit) {
  const auto answer = visit.site.get("/metrics");
  if (answer.status == 429) return *inTheWay(visit, answer);
  if (answer.status >= 200 && answer.status < 300)
    return failed("everybody can read /metrics", "do not route it at the proxy, or set metrics.token");
  if (answer.status >= 500) return unverified(fmt::format("GET /metrics {}", said(answer)));
  return proved(fmt::format("not public ({})", answer.status));
}

Seen lookAtLimits(Visit& visit) {
  const auto answer = visit.site.get("/api/debates?limit=1", As::Caller);
  const auto limit = answer.field("x-ratelimit-limit");
  if (limit.empty() && answer.field("ratelimit").empty())
    return failed("answers do not say what is left: no limit counts them", "set server.rate_limit to 120");
  return proved(
      fmt::format("{} a minute, {} left", printable(limit, 20), printable(answer.field("x-ratelimit-remaining"), 20)));
}

Seen lookAtAdministration(Visit& visit) {
  for (const auto* path : {"/api/admin/settings", "/api/admin/audit"}) {
    const auto answer = visit.site.get(path);
    if (answer.status == 429) return *inTheWay(visit, answer);
    if (answer.status >= 500) return unverified(fmt::format("GET {} {}", path, said(answer)));
    if (answer.status < 400)
      return failed(fmt::format("GET {} answers {} to strangers", path, answer.status),
                    "see: aragora validate-env --only access");
  }
  return proved("strangers are refused");
}

}  // namespace aragora::probe
