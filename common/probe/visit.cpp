#include "common/probe/visit.h"

#include <algorithm>

#include "common/base/interrupt.h"
#include "common/base/names.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/probe/look.h"

namespace aragora::probe {

namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;

// However a server keeps a client busy, a row ends.
struct Row {
  std::string_view id;
  std::string_view title;
  Seen (*look)(Visit&);
  Extent least = Extent::Everything;
  bool unreached = false;  // also looked at when the deployment was not reached
  seconds longest{20};
  bool tidies = false;  // also when no time is left
};
constexpr seconds kAroundADebate{20};    // more than the debate itself may take
constexpr seconds kForMeasurements{60};  // of the fewest requests, each of the slowest
constexpr seconds kForAMessage{10};

// In the order of the checklist's smoke test: what the first ones find decides whether the others can be looked at.
constexpr Row kRows[] = {
    {"health", "Health endpoint", lookAtHealth, Extent::Health},
    {"ready", "Readiness endpoint", lookAtReadiness, Extent::Health, true},
    {"version", "Version", lookAtVersion},
    {"tls.certificate", "TLS certificate", lookAtCertificate, Extent::Everything, true},
    {"tls.protocol", "TLS protocol", lookAtOldProtocols},
    {"https.redirect", "HTTP leads to HTTPS", lookAtRedirect},
    {"headers.csp", "Content-Security-Policy", lookAtContentPolicy},
    {"headers.hsts", "Strict-Transport-Security", lookAtTransportSecurity},
    {"headers.others", "Security headers", lookAtOtherHeaders},
    {"cors.foreign", "Foreign origins", lookAtForeignOrigins},
    {"metrics.private", "Metrics", lookAtMetrics},
    {"limits.headers", "Rate limit", lookAtLimits},
    {"admin.guarded", "Admin endpoints", lookAtAdministration},
    {"websocket.handshake", "WebSocket handshake", openSocket, Extent::Debate},
    {"debate.completed", "Test debate", holdDebate, Extent::Debate},
    {"websocket.delivery", "WebSocket delivery", lookAtDelivery, Extent::Debate, false, kForAMessage},
    {"debate.events", "Test debate, event by event", lookAtEvents, Extent::Debate},
    {"debate.receipt", "Test debate's receipt", lookAtReceipt, Extent::Debate},
    {"debate.deleted", "Test debate deleted", deleteDebate, Extent::Debate, false, seconds(20), true},
    {"latency.health", "GET /api/health", measureHealth, Extent::Everything, false, kForMeasurements},
    {"latency.debates", "GET /api/debates", measureDebates, Extent::Everything, false, kForMeasurements},
    {"latency.create", "POST /api/debates", measureCreation},
    {"latency.leaderboard", "GET /api/leaderboard", measureLeaderboard, Extent::Everything, false, kForMeasurements},
};

constexpr Names<Outcome, 4> kOutcomes{{{Outcome::Proved, "ok"},
                                       {Outcome::Warning, "warning"},
                                       {Outcome::Failed, "error"},
                                       {Outcome::Unverified, "not_verified"}}};

Seen lookSafely(const Row& row, Visit& visit, bool& reached) {
  try {
    auto seen = row.look(visit);
    if (row.id == "ready") reached = true;
    return seen;
  } catch (const net::Failure& failure) {
    // What answers, though not as it should, was reached; one answer that hangs says nothing of the next.
    const bool there = failure.cause() == net::Cause::Malformed || failure.cause() == net::Cause::Broken;
    if (row.id == "health") reached = there;
    if (row.id == "ready") reached |= there;
    if (failure.cause() == net::Cause::Busy) return usedUp();
    return there ? failed(failure.what(), "see the log of the deployment and of what stands before it")
                 : unverified(failure.what(), failure.hint());
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    return error.code() == Code::CheckFailed || error.code() == Code::Damaged ? failed(error.what(), error.hint())
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

Seen usedUp() { return unverified("the limit of requests of this address is used up", "try again in a minute"); }

std::optional<Seen> notItsOwn(const Answer& answer, std::string_view asked, std::initializer_list<int> own) {
  if (std::find(own.begin(), own.end(), answer.status) != own.end()) return std::nullopt;
  if (answer.status == 429) return usedUp();
  return unverified(fmt::format("{} {}", asked, said(answer)), "ask the address of the daemon; another answers here");
}

std::optional<Seen> inTheWay(const Visit& visit, const Answer& answer) {
  if (answer.status == 429) return usedUp();
  if (answer.status != 401 && answer.status != 403) return std::nullopt;
  if (visit.site.showsKey())
    return failed(fmt::format("the key is not accepted ({})", said(answer)), "give a key that may run debates");
  if (visit.site.hasKey())
    return unverified("the key is not sent over a connection that is not encrypted", "ask the https:// address");
  return unverified("this needs a key", "give one in a file, with --key-file");
}

namespace {
constexpr std::size_t kLongestMessage = 600;

std::vector<Box> lookAtAll(Visit& visit) {
  std::vector<Box> boxes;
  bool reached = true;
  const auto whole = deadlineIn(visit.options.whole);
  for (const auto& row : kRows) {
    if (row.least > visit.options.extent) continue;
    interrupt::check();
    const auto started = std::chrono::steady_clock::now();
    const auto end =
        deadlineIn(row.look == holdDebate ? visit.options.longest_debate + kAroundADebate : milliseconds(row.longest));
    visit.site.until(row.tidies ? end : std::min(whole, end));
    auto seen = !reached && !row.unreached ? unverified("the deployment was not reached")
                : remaining(whole).count() == 0 && !row.tidies
                    ? unverified(fmt::format("what came before took {}", humanDuration(visit.options.whole)))
                    : lookSafely(row, visit, reached);
    // Whatever a server says is in there: no terminal obeys it.
    seen.message = printable(redact(seen.message), kLongestMessage);
    seen.hint = printable(redact(seen.hint), kLongestMessage);
    boxes.push_back({row.id, row.title, std::move(seen), secondsSince(started)});
  }
  return boxes;
}
}  // namespace

namespace {
// A signal came: what was made is taken away first, in less time than a signal gives, or named.
void takeAway(Visit& visit) {
  const interrupt::Shield shield;
  visit.site.until(deadlineIn(seconds(4)));
  try {
    if (deleteDebate(visit).outcome == Outcome::Proved) return interrupt::removed("the test debate");
  } catch (const Error&) {
    // Whatever it was: it is not known to be gone.
  }
  interrupt::remains("the test debate " + visit.debate->id);
}
}  // namespace

std::vector<Box> visit(const VisitOptions& options) {
  Visit visit{options, Site(options.site)};
  try {
    return lookAtAll(visit);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted && visit.stays) takeAway(visit);
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
