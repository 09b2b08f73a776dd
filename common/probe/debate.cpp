// What a deployment is for: a debate that is created, followed live and read back, and how long its answers take.
#include <algorithm>
#include <cmath>
#include <thread>

#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/net/limits.h"
#include "common/probe/look.h"

namespace aragora::probe {

namespace {
using std::chrono::milliseconds;
constexpr auto kLongestPause = milliseconds(2000);  // between looks without a socket: they count against limits
constexpr std::int64_t kAsked = 20;                 // requests for one figure
constexpr std::chrono::duration<double> kLongestMeasurement(3);
constexpr std::size_t kFewest = 5;  // below it a p95 says nothing
constexpr std::size_t kMostEvents = 10'000;
constexpr std::size_t kMostVoices = 100;

// The checklist's figures: what is aimed at, and what somebody is woken for.
struct Target {
  milliseconds aim;
  milliseconds alarm;
};
constexpr Target kHealth{milliseconds(50), milliseconds(200)};
constexpr Target kList{milliseconds(200), milliseconds(500)};
constexpr Target kCreate{milliseconds(500), milliseconds(2000)};
constexpr Target kLeaderboard{milliseconds(100), milliseconds(300)};
constexpr Target kHandshake{milliseconds(1000), milliseconds(3000)};
constexpr Target kDelivery{milliseconds(100), milliseconds(500)};

// Whether a deployment works is not how fast it is on a busy day.
Seen judged(const Visit& visit, double seconds, const Target& target, const std::string& measured) {
  if (visit.options.extent != Extent::Everything) return proved(measured);
  const auto text =
      fmt::format("{} (target {}, alert {})", measured, humanDuration(target.aim), humanDuration(target.alarm));
  if (seconds * 1000 <= static_cast<double>(target.aim.count())) return proved(text);
  const std::string hint =
      "ask from a machine beside it, then see aragora_http_request_duration_seconds in the metrics";
  return {seconds * 1000 <= static_cast<double>(target.alarm.count()) ? Outcome::Warning : Outcome::Failed, text, hint};
}

// Most answers take less than one of the milliseconds that people are told of otherwise.
std::string shown(double seconds) {
  return seconds < 0.01 ? fmt::format("{:.1f} ms", seconds * 1000) : humanDuration(seconds);
}

// Nearest rank.
double percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

// A measurement leaves at least half of the limit to others behind the same address.
bool limitIsNear(const Answer& answer) {
  const auto limit = parseInteger(answer.field("x-ratelimit-limit"));
  const auto left = parseInteger(answer.field("x-ratelimit-remaining"));
  return limit && left && *left * 2 < *limit;
}

Seen measure(Visit& visit, const std::string& path, As as, const Target& target) {
  std::vector<double> taken;
  const auto started = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < kAsked; ++i) {
    const auto answer = visit.site.get(path, as);
    if (auto obstacle = inTheWay(visit, answer)) {
      if (answer.status != 429 || taken.size() < kFewest) return *obstacle;
      break;
    }
    if (answer.status != 200)
      return failed(fmt::format("GET {} {}", path, said(answer)), "see the log of the deployment");
    taken.push_back(answer.seconds);
    const bool long_enough = secondsSince(started) > kLongestMeasurement.count();
    if ((limitIsNear(answer) || long_enough) && taken.size() >= kFewest) break;
  }
  std::sort(taken.begin(), taken.end());
  const auto p95 = percentile(taken, 0.95);
  return judged(
      visit, p95, target,
      fmt::format("p50 {}, p95 {} of {}", shown(percentile(taken, 0.5)), shown(p95), counted(taken.size(), "request")));
}

// What comes over the socket until the debate's last event.
void follow(Visit& visit, Deadline deadline) {
  auto& debate = *visit.debate;
  auto limits = visit.site.limits();
  limits.deadline = deadline;
  limits.patience = std::chrono::minutes(1);  // a model may think
  visit.socket->send(toJson(json::object{{"type", "subscribe"}, {"debate_id", debate.id}, {"deltas", "agent"}}),
                     limits);
  while (!debate.socket_ended) {
    const auto text = visit.socket->receive(limits);
    if (!text) return;
    const auto value = tryParseJson(*text);
    if (!value || !value->is_object()) continue;
    const auto& frame = value->get_object();
    const auto type = jsonTextOr(frame, "type", "");
    if (type == "error") return;
    const auto seq = jsonInteger(frame, "seq");
    if (jsonTextOr(frame, "debate_id", "") != debate.id) continue;
    if (type == "agent_delta" && debate.voices.size() < kMostVoices)
      debate.voices.insert(jsonTextOr(frame, "agent", ""));
    if (!seq) continue;
    debate.seen.push_back(*seq);
    debate.socket_began |= type == "debate_start";
    debate.socket_ended = type == "debate_end";
    if (debate.seen.size() == kMostEvents) return;
  }
}

// Asked less and less often: each time counts against the limit.
json::object awaitEnd(Visit& visit, Deadline deadline) {
  auto wait = milliseconds(100);
  while (true) {
    const auto answer = visit.site.get("/api/debates/" + visit.debate->id, As::Caller);
    if (answer.status != 200 && answer.status != 429)
      throw Error(Code::CheckFailed, fmt::format("GET /api/debates/{{id}} {}", said(answer)));
    const auto debate = answer.object();
    if (answer.status == 200 && !jsonFlagOr(debate, "in_progress", true)) return debate;
    if (remaining(deadline).count() == 0 && answer.status == 429)
      throw Error(Code::CouldNotVerify, "the limit of requests of this address is used up", "try again in a minute");
    if (remaining(deadline).count() == 0)
      throw Error(Code::CheckFailed, "the debate did not end in time", "see: aragora validate-env --only ai_providers");
    net::pause(std::min(wait, remaining(deadline)), visit.site.limits().stop);
    wait = std::min(wait * 2, kLongestPause);
  }
}

// nullopt when it does not say what came of it.
std::optional<std::string> decisionOf(const json::object& debate) {
  const auto kind = printable(jsonTextOr(debate, "consensus_kind", ""), 40);
  const auto used = jsonIntegerOr(debate, "rounds_used", -1);
  const auto* reached = debate.if_contains("consensus_reached");
  if (used < 0 || reached == nullptr || !reached->is_bool()) return std::nullopt;
  // Who agree before they have read each other have nothing to debate.
  const auto rounds = used == 0 ? "after the first vote" : fmt::format("after {}", counted(used, "round"));
  if (!reached->get_bool()) return fmt::format("no consensus {}", rounds);
  const auto confidence = jsonNumberOr(debate, "confidence", -1);
  if (kind.empty() || !(confidence >= 0 && confidence <= 1)) return std::nullopt;
  return fmt::format("consensus ({}) with confidence {:.2f} {}", kind, confidence, rounds);
}

std::string costOf(const Visit& visit) {
  const auto answer = visit.site.get(fmt::format("/api/debates/{}/costs", visit.debate->id), As::Caller);
  const auto cost = printable(jsonTextOr(answer.object(), "total_usd", ""), 40);
  return answer.status == 200 && !cost.empty() ? fmt::format("cost {} USD", cost)
                                               : fmt::format("its cost is not known ({})", said(answer));
}

Seen judgedDebate(const Visit& visit, const json::object& debate) {
  const auto status = jsonTextOr(debate, "status", "");
  const auto* error = jsonText(debate, "error") ? debate.if_contains("error") : nullptr;
  if (status != "completed")
    return failed(fmt::format("the debate is {}{}", printable(status, 40),
                              error != nullptr ? ": " + printable(jsonTextOr(debate, "error", ""), 200) : ""),
                  "see: aragora validate-env --only ai_providers");
  const auto decision = decisionOf(debate);
  if (!decision || jsonTextOr(debate, "debate_id", "") != visit.debate->id)
    return failed("it is called completed, and is read back without rounds, decision or its own id",
                  "is this the address of a deployment?");
  return proved(fmt::format("completed: {}; {}", *decision, costOf(visit)));
}
}  // namespace

Seen openSocket(Visit& visit) {
  const auto started = std::chrono::steady_clock::now();
  std::optional<std::string> first;
  try {
    visit.socket.emplace(visit.site.socketAt("/ws"), visit.site.limits());
    first = visit.socket->receive(visit.site.limits());
  } catch (const net::Failure& failure) {
    throw visit.site.explained(failure);
  } catch (const Error& error) {
    if (error.code() == Code::CheckFailed)
      return failed(error.what(), "let the proxy pass Upgrade and Connection on /ws, in HTTP/1.1");
    throw;
  }
  if (!first) return failed("it was closed at once", "see the log of the deployment");
  const auto greeting = tryParseJson(*first);
  if (!greeting || !greeting->is_object() || jsonTextOr(greeting->get_object(), "type", "") != "connection_info") {
    visit.socket.reset();
    return failed("what answers /ws is no aragora", "route /ws to the deployment");
  }
  const auto seconds = secondsSince(started);
  return judged(visit, seconds, kHandshake, fmt::format("open after {}", shown(seconds)));
}

Seen holdDebate(Visit& visit) {
  if (!visit.options.debate) return unverified("left out (--no-debate)");
  const auto deadline = deadlineIn(visit.options.longest_debate);
  const auto& agents = visit.options.agents;
  json::object body{{"task", "Does this deployment work? Answer in one sentence."}, {"rounds", visit.options.rounds}};
  if (!agents.empty()) body["agents"] = json::array(agents.begin(), agents.end());
  const auto answer = [&] {
    const interrupt::Shield until_it_has_an_id;  // without one it could not be taken away
    return visit.site.ask("POST", "/api/debates", As::Caller, {{"Idempotency-Key", newUlid()}}, body);
  }();
  if (auto obstacle = inTheWay(visit, answer)) return *obstacle;
  const auto id = jsonTextOr(answer.object(), "debate_id", "");
  if (answer.status >= 300) return failed(fmt::format("POST /api/debates {}", said(answer)), "see its log");
  if (!ulidTime(id))  // it becomes part of what is asked next, with the key
    return failed(fmt::format("POST /api/debates {}, with '{}' in the place of an id", said(answer), printable(id, 60)),
                  "is this the address of a deployment?");
  visit.debate = Visit::Debate{.id = id, .create_seconds = answer.seconds, .seen = {}};
  visit.stays.emplace([id] { interrupt::remains("the test debate " + id); });
  if (visit.socket) {
    try {
      follow(visit, deadline);
    } catch (const net::Failure& failure) {
      visit.debate->trouble = failure.what();  // is said of the delivery; the debate goes on without a listener
    }
  }
  const auto debate = awaitEnd(visit, deadline);
  visit.debate->ended = true;
  return judgedDebate(visit, debate);
}

namespace {
// How long an answer took over the socket; nullopt when it was closed instead. What else comes may come, for a while.
std::optional<double> askOverSocket(Visit& visit) {
  const auto started = std::chrono::steady_clock::now();
  const auto limits = visit.site.limits();
  try {
    visit.socket->send(R"({"type":"ping"})", limits);
    while (true) {
      const auto text = visit.socket->receive(limits);
      if (!text) return std::nullopt;
      const auto value = tryParseJson(*text);
      if (value && value->is_object() && jsonTextOr(value->get_object(), "type", "") == "pong")
        return secondsSince(started);
    }
  } catch (const net::Failure& failure) {
    if (failure.cause() != net::Cause::TooLate) throw visit.site.explained(failure);
    throw Error(Code::CheckFailed,
                fmt::format("a message over /ws was not answered within {}", shown(secondsSince(started))),
                "see the log of the deployment");
  }
}
}  // namespace

Seen lookAtDelivery(Visit& visit) {
  if (!visit.debate) return unverified("there was no debate to follow");
  if (!visit.socket) return unverified("there is no socket over which anything could come");
  const auto& debate = *visit.debate;
  if (debate.seen.empty() && !debate.socket_ended)
    return failed("no event of the debate came over /ws", "let the proxy pass WebSockets, without a buffer");
  for (std::size_t i = 0; i < debate.seen.size(); ++i) {
    if (debate.seen[i] != static_cast<std::int64_t>(i) + 1)
      return failed(fmt::format("event {} came where event {} was due", debate.seen[i], i + 1), "report this as a bug");
  }
  if (!debate.socket_ended)
    return failed(
        fmt::format("the socket ended after {}, before the debate did{}", counted(debate.seen.size(), "event"),
                    debate.trouble.empty() ? "" : fmt::format(" ({})", debate.trouble)),
        "raise the proxy's time limit for /ws");
  if (!debate.socket_began) return failed("the debate's start did not come over /ws", "report this as a bug");
  const auto took = askOverSocket(visit);
  if (!took) return failed("the socket was closed", "see the log of the deployment");
  const auto voices = debate.voices.empty()
                          ? std::string()
                          : fmt::format("; {} heard as they spoke", counted(debate.voices.size(), "seat"));
  return judged(visit, *took, kDelivery,
                fmt::format("{} in order, to the last{}; a message and its answer in {}",
                            counted(debate.seen.size(), "event"), voices, shown(*took)));
}

namespace {
// An open debate is not deleted, and one that is cancelled ends when it comes to that. Half of the time is for DELETE,
// whose answer says what stands in the way when there is no end.
void awaitCancelled(Visit& visit, const std::string& path) {
  const auto whole = visit.site.until();
  const auto half = deadlineIn(remaining(whole) / 2);
  visit.site.until(half);
  try {
    (void)visit.site.ask("POST", path + "/cancel", As::Caller);
    (void)awaitEnd(visit, half);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
  }
  visit.site.until(whole);
}
}  // namespace

Seen deleteDebate(Visit& visit) {
  if (!visit.debate) return unverified("there was no debate to delete");
  const auto path = "/api/debates/" + visit.debate->id;
  if (!visit.debate->ended) awaitCancelled(visit, path);
  const auto answer = visit.site.ask("DELETE", path, As::Caller);
  if (answer.status == 429) return unverified(usedUp().message, fmt::format("delete {} by hand", path));
  if (answer.status != 200) return failed(fmt::format("DELETE {} {}", path, said(answer)), "delete it by hand");
  const auto after = visit.site.get(path, As::Caller);
  if (after.status == 429) return usedUp();
  if (after.status != 404) return failed(fmt::format("GET {} {} afterwards", path, said(after)), "delete it by hand");
  visit.stays.reset();
  return proved("it is gone");
}

Seen measureHealth(Visit& visit) { return measure(visit, "/api/health", As::Stranger, kHealth); }
Seen measureDebates(Visit& visit) { return measure(visit, "/api/debates", As::Caller, kList); }
Seen measureLeaderboard(Visit& visit) { return measure(visit, "/api/leaderboard", As::Caller, kLeaderboard); }

Seen measureCreation(Visit& visit) {
  if (!visit.debate) return unverified("no debate was created");
  const auto seconds = visit.debate->create_seconds;
  return judged(visit, seconds, kCreate, fmt::format("{} of 1 request", shown(seconds)));
}

}  // namespace aragora::probe
