#include "common/probe/visit.h"

#include <algorithm>

#include "common/base/interrupt.h"
#include "common/base/names.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/probe/look.h"

namespace aragora::probe {

namespace {
struct Row {
  std::string_view id;
  std::string_view title;
  Seen (*look)(Visit&);
  bool quick = false;
  bool unreached = false;  // also looked at when the deployment was not reached
};

// In the order of the checklist's smoke test: what the first ones find decides whether the others can be looked at.
constexpr Row kRows[] = {
    {"health", "Health endpoint", lookAtHealth, true},
    {"ready", "Readiness endpoint", lookAtReadiness, true},
    {"version", "Version", lookAtVersion},
    {"tls.certificate", "TLS certificate", lookAtCertificate, false, true},
    {"tls.protocol", "TLS protocol", lookAtOldProtocols},
    {"https.redirect", "HTTP leads to HTTPS", lookAtRedirect},
    {"headers.csp", "Content-Security-Policy", lookAtContentPolicy},
    {"headers.hsts", "Strict-Transport-Security", lookAtTransportSecurity},
    {"headers.others", "Security headers", lookAtOtherHeaders},
    {"cors.foreign", "Foreign origins", lookAtForeignOrigins},
    {"metrics.private", "Metrics", lookAtMetrics},
    {"limits.headers", "Rate limit", lookAtLimits},
    {"admin.guarded", "Admin endpoints", lookAtAdministration},
    {"websocket.handshake", "WebSocket handshake", openSocket},
    {"debate.completed", "Test debate", holdDebate},
    {"websocket.delivery", "WebSocket delivery", lookAtDelivery},
    {"debate.deleted", "Test debate deleted", deleteDebate},
    {"latency.health", "GET /api/health", measureHealth},
    {"latency.debates", "GET /api/debates", measureDebates},
    {"latency.create", "POST /api/debates", measureCreation},
    {"latency.leaderboard", "GET /api/leaderboard", measureLeaderboard},
};

constexpr Names<Outcome, 4> kOutcomes{{{Outcome::Proved, "ok"},
                                       {Outcome::Warning, "warning"},
                                       {Outcome::Failed, "error"},
                                       {Outcome::Unverified, "not_verified"}}};

Seen lookSafely(const Row& row, Visit& visit, bool& reached) {
  try {
    return row.look(visit);
  } catch (const net::Failure& failure) {
    // What answers, though not as it should, was reached.
    const bool there = failure.cause() == net::Cause::Malformed || failure.cause() == net::Cause::Broken;
    if (row.id == "health") reached = there;
    const auto message = fmt::format("no answer: {}", failure.what());
    return there ? failed(message, "see the log of the deployment and of what stands before it")
                 : unverified(message, failure.hint());
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    return error.code() == Code::CheckFailed ? failed(error.what(), error.hint())
                                             : unverified(error.what(), error.hint());
  }
}
}  // namespace

std::string_view name(Outcome outcome) { return nameIn(kOutcomes, outcome); }

Seen proved(std::string message) { return {Outcome::Proved, std::move(message)}; }
Seen failed(std::string message, std::string hint) { return {Outcome::Failed, std::move(message), std::move(hint)}; }
Seen unverified(std::string message, std::string hint) {
  return {Outcome::Unverified, std::move(message), std::move(hint)};
}

std::string said(const Answer& answer) {
  const auto object = answer.object();
  const auto text = jsonTextOr(object, "reason", jsonTextOr(object, "error", ""));
  return text.empty() ? fmt::format("answered {}", answer.status)
                      : fmt::format("answered {}: {}", answer.status, printable(text, 200));
}

std::optional<Seen> inTheWay(const Visit& visit, const Answer& answer) {
  if (answer.status == 429)
    return unverified("the limit of requests of this address is used up", "try again in a minute");
  if (answer.status != 401 && answer.status != 403) return std::nullopt;
  if (visit.site.showsKey())
    return failed(fmt::format("the key is not accepted ({})", said(answer)), "give a key that may run debates");
  if (visit.site.hasKey())
    return unverified("the key is not sent over a connection that is not encrypted", "ask the https:// address");
  return unverified("this needs a key", "give one in a file, with --key-file, or in ARAGORA_VERIFY_KEY");
}

namespace {
std::vector<Box> lookAtAll(Visit& visit) {
  std::vector<Box> boxes;
  bool reached = true;
  for (const auto& row : kRows) {
    if (visit.options.quick && !row.quick) continue;
    interrupt::check();
    const auto started = std::chrono::steady_clock::now();
    auto seen =
        reached || row.unreached ? lookSafely(row, visit, reached) : unverified("the deployment was not reached");
    seen.message = redact(seen.message);
    boxes.push_back({row.id, row.title, std::move(seen), secondsSince(started)});
  }
  return boxes;
}
}  // namespace

std::vector<Box> visit(const VisitOptions& options) {
  Visit visit{options, Site(options.site)};
  try {
    return lookAtAll(visit);
  } catch (const Error& error) {
    // A signal came: what was made is taken away first.
    const interrupt::Shield shield;
    if (error.code() == Code::Interrupted && visit.debate && deleteDebate(visit).outcome == Outcome::Proved)
      interrupt::removed("the test debate");
    throw;
  }
}

int exitStatus(const std::vector<Box>& boxes) {
  const auto any = [&](Outcome outcome) {
    return std::any_of(boxes.begin(), boxes.end(), [&](const Box& box) { return box.seen.outcome == outcome; });
  };
  if (any(Outcome::Failed)) return info(Code::CheckFailed).exit_status;
  return any(Outcome::Unverified) ? info(Code::CouldNotVerify).exit_status : 0;
}

std::vector<std::pair<std::string_view, std::string_view>> boxesOfVisit() {
  std::vector<std::pair<std::string_view, std::string_view>> rows;
  for (const auto& row : kRows) rows.emplace_back(row.id, row.title);
  return rows;
}

}  // namespace aragora::probe
