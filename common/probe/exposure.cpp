// What a deployment says to browsers in its headers, and what it keeps from strangers.
#include <algorithm>
#include <map>

#include "common/base/text.h"
#include "common/probe/look.h"

namespace aragora::probe {

namespace {
constexpr std::int64_t kLeastHsts = 15'768'000;  // half a year
constexpr const char* kForeign = "https://a-foreign-page.invalid";
constexpr const char* kPassHeaders = "let the proxy pass the daemon's headers";

// The value of max-age in Strict-Transport-Security (RFC 6797, 6.1); nullopt when there is none.
std::optional<std::int64_t> maxAge(std::string_view header) {
  for (const auto& part : split(lower(header), ';')) {
    if (startsWith(part, "max-age=")) return parseInteger(replaceAll(part.substr(8), "\"", ""));
  }
  return std::nullopt;
}

// By name, of one policy in lower case; the first of a name counts (CSP 3, 2.2.1).
std::map<std::string, std::vector<std::string>> directivesOf(std::string_view policy) {
  std::map<std::string, std::vector<std::string>> result;
  for (const auto& directive : split(policy, ';')) {
    auto words = split(replaceAll(directive, "\t", " "), ' ');
    if (words.empty()) continue;
    const auto name = words.front();
    words.erase(words.begin());
    result.emplace(name, std::move(words));
  }
  return result;
}

// What lets scripts run that nobody of the deployment wrote; nullopt for a policy that keeps them out.
std::optional<std::string> weaknessOf(std::string_view policy) {
  const auto directives = directivesOf(policy);
  if (directives.count("script-src") + directives.count("default-src") == 0) return "restricts no scripts";
  for (const auto* name : {"script-src", "default-src", "script-src-elem", "script-src-attr"}) {
    if (name == std::string_view("default-src") && directives.count("script-src") > 0) continue;  // not asked for
    const auto found = directives.find(name);
    if (found == directives.end()) continue;
    for (const auto* open : {"'unsafe-eval'", "'unsafe-inline'", "*", "http:", "https:", "data:", "blob:"}) {
      if (std::find(found->second.begin(), found->second.end(), open) != found->second.end())
        return fmt::format("allows {} in {}", open, name);
    }
  }
  return std::nullopt;
}

// Browsers enforce every policy that they are given, also of one line.
std::optional<std::string> weaknessOf(const std::vector<std::string>& headers) {
  std::optional<std::string> first = "has no Content-Security-Policy";
  bool any = false;
  for (const auto& header : headers) {
    for (const auto& policy : split(lower(header), ',')) {
      auto weakness = weaknessOf(policy);
      if (!weakness) return std::nullopt;
      if (!any) first = std::move(weakness);
      any = true;
    }
  }
  return first;
}

bool keepsReferrers(const Answer& answer) {
  const auto all = split(lower(answer.field("referrer-policy")), ',');
  constexpr std::string_view kKept[] = {"no-referrer",
                                        "same-origin",
                                        "strict-origin",
                                        "strict-origin-when-cross-origin",
                                        "origin",
                                        "origin-when-cross-origin",
                                        "no-referrer-when-downgrade"};
  return !all.empty() && std::find(std::begin(kKept), std::end(kKept), all.back()) != std::end(kKept);
}

bool forbidsFrames(const Answer& answer) {
  const auto framing = lower(answer.field("x-frame-options"));
  if (framing == "deny" || framing == "sameorigin") return true;
  for (const auto& header : answer.fields("content-security-policy")) {
    for (const auto& policy : split(lower(header), ',')) {
      const auto directives = directivesOf(policy);
      const auto found = directives.find("frame-ancestors");
      if (found == directives.end()) continue;
      if (found->second.empty() || found->second.front() == "'none'" || found->second.front() == "'self'") return true;
    }
  }
  return false;
}

bool areMetrics(const Answer& answer) {
  return answer.status / 100 == 2 &&
         (answer.body.find("# TYPE ") != std::string::npos || answer.body.find("aragora_") != std::string::npos);
}

// nullopt when strangers get none there.
std::optional<Seen> openMetrics(const Answer& answer, const std::string& path) {
  if (areMetrics(answer))
    return failed(fmt::format("everybody can read {}", path), "do not route it at the proxy, or set metrics.token");
  return notItsOwn(answer, "GET " + path, {401, 403, 404});
}
}  // namespace

Seen lookAtContentPolicy(Visit& visit) {
  for (const auto* path : {"/api/health", "/"}) {
    const auto answer = visit.site.get(path);
    const auto asked = fmt::format("GET {}", path);
    if (auto seen = notItsOwn(answer, asked, {200, 401, 403, 404})) return *seen;
    if (const auto weakness = weaknessOf(answer.fields("content-security-policy")))
      return failed(fmt::format("{} {}", asked, *weakness), kPassHeaders);
  }
  return proved("scripts of others, in lines and from texts are kept out");
}

Seen lookAtTransportSecurity(Visit& visit) {
  if (!visit.site.encrypted()) return withoutTls(visit);
  const auto answer = visit.site.get("/api/health");
  if (auto seen = notItsOwn(answer, "GET /api/health", {200})) return *seen;
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
  if (auto seen = notItsOwn(answer, "GET /api/health", {200})) return *seen;
  std::vector<std::string> missing;
  if (lower(answer.field("x-content-type-options")) != "nosniff")
    missing.emplace_back("X-Content-Type-Options: nosniff");
  if (!forbidsFrames(answer)) missing.emplace_back("X-Frame-Options: DENY");
  if (!keepsReferrers(answer)) missing.emplace_back("Referrer-Policy");
  if (missing.empty()) return proved("nosniff, no frames, a referrer policy");
  return failed("missing: " + join(missing, ", "), kPassHeaders);
}

Seen lookAtForeignOrigins(Visit& visit) {
  const Site::Headers page{{"Origin", kForeign}, {"Access-Control-Request-Method", "POST"}};
  for (const bool preflight : {false, true}) {
    const std::string method = preflight ? "OPTIONS" : "GET";
    const std::string path = preflight ? "/api/debates" : "/api/health";
    const auto answer = visit.site.ask(method, path, As::Stranger, page);
    const auto asked = fmt::format("{} {} from a foreign page", method, path);
    const auto allowed = join(answer.fields("access-control-allow-origin"), ", ");
    if (!allowed.empty())
      return failed(fmt::format("{} is answered with Access-Control-Allow-Origin: {}", asked, printable(allowed, 80)),
                    "list the origins in server.allowed_origins, and let no proxy add that header");
    auto seen = preflight ? notItsOwn(answer, asked, {200, 204, 401, 403, 405}) : notItsOwn(answer, asked, {200});
    if (seen) return *seen;
  }
  return proved("their pages may not read the answers");
}

// Where the deployment is mounted, and also where the daemon itself has them.
Seen lookAtMetrics(Visit& visit) {
  const auto answer = visit.site.get("/metrics");
  if (auto seen = openMetrics(answer, "/metrics")) return *seen;
  if (answer.status == 404 && !visit.recognised)
    return unverified("nothing is at /metrics, and it is not known whether this is the address of a deployment");
  auto root = visit.site.url();
  root.user_info.clear();
  root.path = "/metrics";
  if (visit.site.at("/metrics").path == root.path) return proved(fmt::format("not public ({})", answer.status));
  const auto outside = visit.site.getElsewhere(root);
  if (outside.status / 100 != 2 || areMetrics(outside)) {  // another page of that host is none of ours
    if (auto seen = openMetrics(outside, "/metrics of the host")) return *seen;
  }
  return proved(fmt::format("not public ({}, and {} at the root)", answer.status, outside.status));
}

Seen lookAtLimits(Visit& visit) {
  const auto answer = visit.site.get("/api/debates?limit=1", As::Caller);
  if (auto seen = notItsOwn(answer, "GET /api/debates", {200, 401, 403})) return *seen;
  const auto limit = parseInteger(answer.field("x-ratelimit-limit"));
  const auto left = parseInteger(answer.field("x-ratelimit-remaining"));
  if (limit && left && *limit > 0) return proved(fmt::format("{} a minute, {} left", *limit, *left));
  const auto standard = answer.field("ratelimit");
  if (standard.find_first_of("0123456789") != std::string_view::npos)
    return proved("RateLimit: " + printable(standard, 80));
  return failed("answers do not say what is left: no limit counts them", "set server.rate_limit to 120");
}

Seen lookAtAdministration(Visit& visit) {
  for (const auto* path : {"/api/admin/settings", "/api/admin/audit"}) {
    const auto answer = visit.site.get(path);
    if (answer.status / 100 == 2)
      return failed(fmt::format("GET {} answers {} to strangers", path, answer.status),
                    "see: aragora validate-env --only access");
    if (auto seen = notItsOwn(answer, fmt::format("GET {}", path), {401, 403})) return *seen;
  }
  return proved("strangers are refused");
}

}  // namespace aragora::probe
