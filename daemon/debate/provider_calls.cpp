#include "daemon/debate/provider_calls.h"

#include <pthread.h>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "daemon/debate/prompts.h"
#include "daemon/debate/speaker.h"
#include "daemon/debate/spending.h"
#include "daemon/providers/failure.h"

namespace aragora::debate {

namespace {
constexpr std::size_t kAnswerLimit = 64 * 1024;
constexpr std::chrono::milliseconds kFirstPause{50};
constexpr std::chrono::milliseconds kLongestPause{1000};

// Without what is no text, and without a key that a model was made to say.
std::string kept(const std::string& answer) {
  auto text = answer.substr(0, kAnswerLimit);
  while (!validUtf8(text)) text.pop_back();  // cut inside a character, or not UTF-8 at all
  return redactCredentials(replaceAll(std::move(text), std::string(1, '\0'), ""));
}

// As kErrorTypes has them; a label of metrics.
std::string errorType(const Error& error, Deadline deadline, bool broken_off) {
  if (broken_off) return "cancelled";
  if (remaining(deadline).count() == 0) return "timeout";
  return error.code() == Code::Unreachable ? "unreachable" : "other";
}
// Asking again in a while would not help.
bool lasts(const Error& error) {
  using Kind = providers::FailureKind;
  const auto* failure = dynamic_cast<const providers::Failure*>(&error);
  if (failure == nullptr) return false;
  const auto kind = failure->kind();
  return kind == Kind::Credential || kind == Kind::Money || kind == Kind::Request || kind == Kind::Refused ||
         kind == Kind::Empty;
}

// Half an object read as prose would stand in the debate as somebody's answer. Who chooses is asked once more instead.
void requireWhole(const providers::Answer& answer, const Inquiry& inquiry) {
  const auto phase = inquiry.place.phase;
  const bool choice = store::repairOf(phase).has_value() || store::isRepair(phase);
  if (inquiry.shape && !choice && answer.text.size() > kAnswerLimit)
    throw providers::Failure(
        providers::FailureKind::Empty,
        fmt::format("the answer has {}, {} are kept", counted(answer.text.size(), "byte"), kAnswerLimit));
  if (!answer.truncated || !inquiry.shape || choice || holdsObject(answer.text)) return;
  throw providers::Failure(providers::FailureKind::Empty,
                           "the answer ran into the most tokens before it was whole (providers.max_output_tokens)");
}
}  // namespace

std::string requestHash(const Inquiry& inquiry) { return crypto::sha256Hex(inquiry.system + toJson(inquiry.material)); }

ProviderCalls::ProviderCalls(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
                             const Control& control, Deadline deadline, Deadline debating_until)
    : debate_(debate),
      lease_(lease),
      services_(services),
      control_(control),
      deadline_(deadline),
      debating_until_(debating_until),
      forward_(control.token(), [this] { stop(); }) {}

ProviderCalls::~ProviderCalls() { stop(); }  // the threads are joined with the members

void ProviderCalls::stop() {
  stop_.request_stop();
  debating_.request_stop();
}

void ProviderCalls::tried(const Place& place, std::int64_t attempt) {
  auto& highest = attempts_[place];
  highest = std::max(highest, attempt);
}

void ProviderCalls::start(Inquiry inquiry) {
  const auto attempt = ++attempts_[inquiry.place];
  try {
    auto& threads = beforeTheVote(inquiry.place.phase) ? debating_threads_ : threads_;
    threads.emplace_back([this, inquiry, attempt, stop = interrupt::minded(), about = log::about()] {
      const log::Scope scope(about);
      ::pthread_setname_np(::pthread_self(), "debate call");
      const interrupt::Minding minding(stop);
      make(inquiry, attempt);
    });
  } catch (const std::system_error& error) {
    log::warning("no thread for a provider call ({}): asked one after the other", error.what());
    make(inquiry, attempt);
  }
}

void ProviderCalls::make(const Inquiry& inquiry, std::int64_t attempt) {
  std::optional<Answer> answer;
  std::exception_ptr failure;
  try {
    answer = ask(inquiry, attempt);
  } catch (...) {
    failure = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    if (answer) answers_.push_back(std::move(*answer));
    if (failure) failure_ = failure;
  }
  changed_.notify_all();
}

// Recorded as intent before it is made and as result before anything follows from it. nullopt: it was broken off, and
// whoever goes on with the debate asks again.
std::optional<Answer> ProviderCalls::ask(const Inquiry& inquiry, std::int64_t attempt) {
  const auto& place = inquiry.place;
  std::string why;
  const auto seat = services_.providers.find(inquiry.agent, why);
  providers::Question question{place.seat,
                               seat ? seat->model : "",
                               place.phase,
                               inquiry.system,
                               toJson(inquiry.material),
                               static_cast<std::uint64_t>(debate_.seed),
                               std::min(deadline_, deadlineIn(services_.call_timeout)),
                               (beforeTheVote(place.phase) ? debating_ : stop_).get_token(),
                               inquiry.shape};
  store::Call call;
  call.id = newUlid();
  call.debate_id = debate_.id;
  call.phase = place.phase;
  call.round = place.round;
  call.seat = place.seat;
  call.attempt = attempt;
  call.provider = seat ? std::string(seat->provider->name()) : "none";
  call.model = question.model;
  call.request_hash = requestHash(inquiry);
  if (seat) question.substitute = seat->provider->substituteFor(question.model);
  Bill bill;
  if (seat && services_.spending != nullptr)
    bill = services_.spending->estimate(debate_, inquiry.agent, call, question);
  if (!reserved(call, bill, question)) {
    if (question.stop.stop_requested() && !closed_ && !control_.cancelled()) return std::nullopt;
    return overBudget(place, bill);
  }
  std::optional<store::Charge> charge;
  const auto started = std::chrono::steady_clock::now();
  bool lasting = false;
  try {
    if (!seat) throw providers::Failure(providers::FailureKind::Request, why);
    if (!bill.why_not.empty()) throw providers::Failure(providers::FailureKind::Request, bill.why_not);
    Speaker speaker(services_.speak, debate_.id, place, attempt);
    const auto answer = seat->provider->ask(question, speaker.onDelta());
    if (bill.reservation) charge = services_.spending->chargeOf(bill, call, answer);
    call.model = answer.model;
    call.request_id = answer.request_id;
    if (!answer.provider.empty()) call.provider = answer.provider;
    call.tokens_in = answer.usage.totalInput();
    call.tokens_out = answer.usage.output;
    services_.metrics.count("aragora_debate_tokens_total", {{"agent", call.provider}, {"direction", "in"}},
                            static_cast<double>(answer.usage.totalInput()));
    services_.metrics.count("aragora_debate_tokens_total", {{"agent", call.provider}, {"direction", "out"}},
                            static_cast<double>(answer.usage.output));
    requireWhole(answer, inquiry);
    call.state = store::CallState::Done;
    call.response = kept(answer.text);
  } catch (const Error& error) {
    const bool broken_off = question.stop.stop_requested();
    if (broken_off && !closed_ && !control_.cancelled() && !overtime(place)) return std::nullopt;
    call.state = store::CallState::Failed;
    if (const auto* failure = dynamic_cast<const providers::Failure*>(&error);
        failure != nullptr && call.request_id.empty())
      call.request_id = failure->requestId();
    if (bill.reservation && !charge) charge = Spending::chargeOf(error);
    lasting = !seat || lasts(error);
    services_.metrics.count(
        "aragora_agent_errors_total",
        {{"agent", call.provider},
         {"error_type", overtime(place) ? "timeout" : errorType(error, question.deadline, broken_off)}});
    if (overtime(place))
      call.error = "the time for debating was over before there was an answer";
    else
      call.error = broken_off ? "the debate ended before there was an answer" : printable(redact(error.what()), 300);
  }
  const auto crossed = services_.debates.recordResult(call, charge);
  if (charge) {
    services_.spending->charged(call, bill, *charge);
    services_.spending->tell(crossed);
  }
  const bool done = call.state == store::CallState::Done;
  const auto number = call.request_id.empty() ? "" : fmt::format("; the provider's number is {}", call.request_id);
  if (done)
    log::debug("{} answered ({}, {}) after {:.1f} s{}", place.seat, store::name(place.phase), call.model,
               secondsSince(started), number);
  else
    log::info("{} did not answer ({}) after {:.1f} s: {}{}", place.seat, store::name(place.phase),
              secondsSince(started), call.error, number);
  services_.metrics.observe("aragora_agent_latency_seconds", secondsSince(started), {{"agent", call.provider}});
  services_.metrics.count("aragora_agent_calls_total",
                          {{"agent", call.provider}, {"status", done ? "success" : "error"}});
  if (!done && overtime(place)) return std::nullopt;
  return Answer{place, done, done ? call.response : call.error, lasting};
}

// With the intent, or neither. As many tokens are asked for as the budget pays for.
bool ProviderCalls::reserved(const store::Call& call, Bill& bill, providers::Question& question) {
  store::Grant grant;
  for (auto pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    grant = services_.debates.recordIntent(lease_, call, bill.reservation, bill.caps);
    if (!grant.full || !grant.later || remaining(deadline_) < pause) break;
    // Calls on their way have more reserved than they will cost.
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, question.stop, pause, [] { return false; }) || question.stop.stop_requested()) break;
  }
  if (!bill.reservation) return true;
  services_.spending->tell(grant.crossed);
  if (grant.full) {
    bill.why_not = fmt::format("{} has {} left, and a call takes {}", store::describe(*grant.full),
                               shownUsd(grant.left), shownUsd(bill.reservation->least));
    return false;
  }
  question.max_output_tokens = bill.caps.any() ? bill.tokensFor(grant.picos) : bill.most_tokens;
  question.billed_once = bill.caps.any();
  if (bill.caps.any() && !bill.fallback) question.substitute.clear();  // nobody knows what that one costs
  return true;
}

Answer ProviderCalls::overBudget(const Place& place, const Bill& bill) {
  log::info("{} is not asked ({}): {}", place.seat, store::name(place.phase), bill.why_not);
  services_.metrics.count("aragora_budget_refusals_total");
  Answer refused{place, false, bill.why_not};
  refused.lasting = true;
  refused.over_budget = true;
  return refused;
}

bool ProviderCalls::overtime(const Place& place) const {
  return hurried_ && beforeTheVote(place.phase) && !stop_.stop_requested();
}

void ProviderCalls::hurry() {
  hurried_ = true;
  debating_.request_stop();
  debating_threads_.clear();  // joins
  if (failure_) std::rethrow_exception(failure_);
}

void ProviderCalls::close() {
  closed_ = true;
  stop();
  threads_.clear();  // joins
  debating_threads_.clear();
  if (failure_) std::rethrow_exception(failure_);
}

std::vector<Answer> ProviderCalls::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, control_.token(), hurried_ ? deadline_ : debating_until_,
                      [this] { return failure_ || !answers_.empty(); });
  if (failure_) std::rethrow_exception(failure_);
  return std::exchange(answers_, {});
}

std::vector<Answer> ProviderCalls::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(answers_, {});
}

}  // namespace aragora::debate
