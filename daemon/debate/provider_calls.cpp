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

namespace aragora::debate {

namespace {
constexpr std::size_t kAnswerLimit = 64 * 1024;

std::string kept(const std::string& answer) {
  auto text = answer.substr(0, kAnswerLimit);
  while (!validUtf8(text)) text.pop_back();  // cut inside a character, or not UTF-8 at all
  return replaceAll(std::move(text), std::string(1, '\0'), "");
}

// As kErrorTypes has them; a label of metrics.
std::string errorType(const Error& error, Deadline deadline, bool broken_off) {
  if (broken_off) return "cancelled";
  if (remaining(deadline).count() == 0) return "timeout";
  return error.code() == Code::Unreachable ? "unreachable" : "other";
}
}  // namespace

ProviderCalls::ProviderCalls(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
                             const Control& control, Deadline deadline)
    : debate_(debate),
      lease_(lease),
      services_(services),
      control_(control),
      deadline_(deadline),
      forward_(control.token(), [this] { stop_.request_stop(); }) {}

ProviderCalls::~ProviderCalls() { stop_.request_stop(); }  // the threads are joined with the members

void ProviderCalls::tried(const Place& place, std::int64_t attempt) {
  auto& highest = attempts_[place];
  highest = std::max(highest, attempt);
}

void ProviderCalls::start(Inquiry inquiry) {
  const auto attempt = ++attempts_[inquiry.place];
  try {
    threads_.emplace_back([this, inquiry, attempt, stop = interrupt::minded(), about = log::about()] {
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
                               instructions(place.phase),
                               toJson(inquiry.material),
                               static_cast<std::uint64_t>(debate_.seed),
                               std::min(deadline_, deadlineIn(services_.call_timeout)),
                               stop_.get_token()};
  store::Call call;
  call.id = newUlid();
  call.debate_id = debate_.id;
  call.phase = place.phase;
  call.round = place.round;
  call.seat = place.seat;
  call.attempt = attempt;
  call.provider = seat ? std::string(seat->provider->name()) : "none";
  call.model = question.model;
  call.request_hash = crypto::sha256Hex(question.system + question.user);
  services_.debates.recordIntent(lease_, call);
  const auto started = std::chrono::steady_clock::now();
  try {
    if (!seat) throw Error(Code::Unreachable, why);
    const auto answer = seat->provider->ask(question);
    call.state = store::CallState::Done;
    call.response = kept(answer.text);
    call.model = answer.model;
    call.tokens_in = answer.tokens_in;
    call.tokens_out = answer.tokens_out;
    services_.metrics.count("aragora_debate_tokens_total", {{"agent", call.provider}, {"direction", "in"}},
                            static_cast<double>(answer.tokens_in));
    services_.metrics.count("aragora_debate_tokens_total", {{"agent", call.provider}, {"direction", "out"}},
                            static_cast<double>(answer.tokens_out));
  } catch (const Error& error) {
    const bool broken_off = stop_.stop_requested();
    if (broken_off && !closed_ && !control_.cancelled()) return std::nullopt;
    call.state = store::CallState::Failed;
    services_.metrics.count(
        "aragora_agent_errors_total",
        {{"agent", call.provider}, {"error_type", errorType(error, question.deadline, broken_off)}});
    call.error = broken_off ? "the debate ended before there was an answer" : printable(redact(error.what()), 300);
  }
  services_.debates.recordResult(call);
  const bool done = call.state == store::CallState::Done;
  if (done)
    log::debug("{} answered ({}, {}) after {:.1f} s", place.seat, store::name(place.phase), call.model,
               secondsSince(started));
  else
    log::info("{} did not answer ({}) after {:.1f} s: {}", place.seat, store::name(place.phase), secondsSince(started),
              call.error);
  services_.metrics.observe("aragora_agent_latency_seconds", secondsSince(started), {{"agent", call.provider}});
  services_.metrics.count("aragora_agent_calls_total",
                          {{"agent", call.provider}, {"status", done ? "success" : "error"}});
  return Answer{place, done, done ? call.response : call.error};
}

void ProviderCalls::close() {
  closed_ = true;
  stop_.request_stop();
  threads_.clear();  // joins
  if (failure_) std::rethrow_exception(failure_);
}

std::vector<Answer> ProviderCalls::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, control_.token(), deadline_, [this] { return failure_ || !answers_.empty(); });
  if (failure_) std::rethrow_exception(failure_);
  return std::exchange(answers_, {});
}

}  // namespace aragora::debate
