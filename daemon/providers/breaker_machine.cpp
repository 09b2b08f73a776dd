#include "daemon/providers/breaker_machine.h"

#include <algorithm>

#include "common/base/names.h"

namespace aragora::providers {

namespace {
constexpr Names<Circuit, 3> kCircuits{
    {{Circuit::Closed, "closed"}, {Circuit::HalfOpen, "half_open"}, {Circuit::Open, "open"}}};
constexpr Names<Forced, 3> kForced{{{Forced::None, "none"}, {Forced::Open, "open"}, {Forced::Closed, "closed"}}};
constexpr Names<Refusal, 5> kRefusals{{{Refusal::Open, "open"},
                                       {Refusal::Probing, "probing"},
                                       {Refusal::Throttled, "throttled"},
                                       {Refusal::Blocked, "blocked"},
                                       {Refusal::Forced, "forced"}}};
constexpr Names<FailureKind, kFailureKinds> kKinds{{{FailureKind::Unreachable, "unreachable"},
                                                    {FailureKind::Timeout, "timeout"},
                                                    {FailureKind::Server, "server"},
                                                    {FailureKind::Throttled, "throttled"},
                                                    {FailureKind::Malformed, "malformed"},
                                                    {FailureKind::Cut, "cut"},
                                                    {FailureKind::Credential, "credential"},
                                                    {FailureKind::Money, "money"},
                                                    {FailureKind::Request, "request"},
                                                    {FailureKind::Refused, "refused"},
                                                    {FailureKind::Empty, "empty"},
                                                    {FailureKind::Stopped, "stopped"},
                                                    {FailureKind::Rejected, "rejected"}}};
// Models are named by clients.
constexpr std::size_t kMostLatches = 64;
// Then a call asks again who probes: what ended without a result is told to nobody, and a hint may be lost.
constexpr Span kStandBack{1000};

Span spanTo(Moment until, Moment now) { return until > now ? std::chrono::ceil<Span>(until - now) : Span{0}; }

std::int64_t secondOf(Moment at) {
  return std::chrono::duration_cast<std::chrono::seconds>(at.time_since_epoch()).count();
}

// A failure of the provider, which others would see as well.
bool countsAgainstIt(const CallResult& result) {
  switch (*result.failure) {
    case FailureKind::Unreachable:
    case FailureKind::Timeout:
    case FailureKind::Server:
    case FailureKind::Malformed:
    case FailureKind::Cut:
      return true;
    case FailureKind::Throttled:
      return !result.asked_pause;
    default:
      return false;
  }
}
}  // namespace

std::string_view name(Circuit circuit) { return nameIn(kCircuits, circuit); }
std::string_view name(Forced forced) { return nameIn(kForced, forced); }
std::string_view name(Refusal refusal) { return nameIn(kRefusals, refusal); }
std::string_view name(FailureKind kind) { return nameIn(kKinds, kind); }

std::variant<Admission, Rejection> BreakerMachine::admit(Moment now, Span lease, const std::string& model) {
  look(now);
  if (forced_ == Forced::Open) return Rejection{Refusal::Forced, Span{0}, {}};
  if (forced_ == Forced::Closed) return Admission{generation_, false};
  const auto* latch = latchOf(model);
  if (latch != nullptr && now < latch->second.again_at)
    return Rejection{Refusal::Blocked, spanTo(latch->second.again_at, now), latch->second.reason, latch->second.cause};
  if (now < throttled_until_) return Rejection{Refusal::Throttled, spanTo(throttled_until_, now), {}};
  if (circuit_ == Circuit::Open && now < open_until_) return Rejection{Refusal::Open, spanTo(open_until_, now), {}};
  if (circuit_ == Circuit::Open) move(Circuit::HalfOpen, now);
  const bool probe = circuit_ == Circuit::HalfOpen;
  if (probe && probing_) return Rejection{Refusal::Probing, spanTo(lease_ends_, now), {}};
  if (probe && now < stands_back_until_) return Rejection{Refusal::Probing, spanTo(other_until_, now), {}};
  if (probe) {
    probing_ = true;
    lease_ends_ = now + lease;
  }
  if (latch != nullptr) latches_[latch->first].again_at = now + rules_.longest_cooldown;  // this one finds out
  return Admission{generation_, probe};
}

void BreakerMachine::settle(const Admission& admission, const CallResult& result, Moment now) {
  look(now);
  if (admission.generation != generation_ || forced_ != Forced::None) return;
  if (admission.probe) probing_ = false;
  if (!result.failure) {
    latches_.erase(std::string());
    latches_.erase(result.model);
    tally(false, now);
    if (admission.probe) close(now);
    return;
  }
  if (*result.failure == FailureKind::Credential || *result.failure == FailureKind::Money) return latch(result, now);
  if (*result.failure == FailureKind::Throttled && result.asked_pause)
    throttled_until_ = std::max(throttled_until_, now + std::min(*result.asked_pause, rules_.longest_cooldown));
  if (countsAgainstIt(result)) counted(admission.probe, now);
}

std::optional<Rejection> BreakerMachine::standBack(const Admission& admission, const std::string& prober, Span left,
                                                   Moment now, const std::string& model) {
  if (admission.generation != generation_) return std::nullopt;
  if (prober != other_prober_) {
    other_prober_ = prober;
    other_until_ = now + std::min(left, rules_.longest_lease);
  }
  if (now >= other_until_) return std::nullopt;
  probing_ = false;
  stands_back_until_ = std::min(other_until_, now + kStandBack);
  if (const auto* latch = latchOf(model)) latches_[latch->first].again_at = now;  // nobody found out
  return Rejection{Refusal::Probing, spanTo(other_until_, now), {}};
}

void BreakerMachine::counted(bool probe, Moment now) {
  if (probe) return open(now);
  while (!failures_.empty() && failures_.front() <= now - rules_.window) failures_.pop_front();
  if (failures_.size() >= rules_.failures) failures_.pop_front();
  failures_.push_back(now);
  tally(true, now);
  if (failures_.size() >= rules_.failures && enoughOfAll(now)) open(now);
}

void BreakerMachine::tally(bool failed, Moment now) {
  if (rules_.least_failure_percent == 0) return;
  const auto second = secondOf(now);
  while (!seconds_.empty() && seconds_.front().at <= secondOf(now - rules_.window)) seconds_.pop_front();
  if (seconds_.empty() || seconds_.back().at != second) seconds_.push_back({second});
  ++seconds_.back().calls;
  seconds_.back().failures += failed ? 1 : 0;
}

bool BreakerMachine::enoughOfAll(Moment now) const {
  if (rules_.least_failure_percent == 0) return true;
  std::uint64_t calls = 0;
  std::uint64_t failures = 0;
  for (const auto& second : seconds_) {
    if (second.at <= secondOf(now - rules_.window)) continue;
    calls += second.calls;
    failures += second.failures;
  }
  return failures * 100 >= calls * static_cast<std::uint64_t>(rules_.least_failure_percent);
}

// What it holds against one model keeps nobody from another: models are named by whoever asks.
void BreakerMachine::latch(const CallResult& result, Moment now) {
  const bool one = result.model_only && *result.failure == FailureKind::Credential && !result.model.empty();
  if (one && latches_.size() >= kMostLatches) return;
  latches_[one ? result.model : std::string()] = {result.reason, *result.failure, now + rules_.longest_cooldown};
}

const std::pair<const std::string, BreakerMachine::Latch>* BreakerMachine::latchOf(const std::string& model) const {
  auto found = latches_.find(std::string());
  if (found == latches_.end() && !model.empty()) found = latches_.find(model);
  return found == latches_.end() ? nullptr : &*found;
}

void BreakerMachine::move(Circuit to, Moment now) {
  ++transitions_[static_cast<std::size_t>(circuit_)][static_cast<std::size_t>(to)];
  circuit_ = to;
  ++generation_;
  since_ = now;
  probing_ = false;
  stands_back_until_ = {};
}

void BreakerMachine::open(Moment now) {
  if (circuit_ == Circuit::Closed && now - closed_since_ >= rules_.window) openings_ = 0;
  auto cooldown = std::min(rules_.window * (1L << std::min(openings_, 20)), rules_.longest_cooldown);
  if (rules_.jitter)
    cooldown += Span{static_cast<std::int64_t>(static_cast<double>(cooldown.count()) * rules_.jitter() / 10)};
  ++openings_;
  open_until_ = now + cooldown;
  failures_.clear();
  move(Circuit::Open, now);
}

void BreakerMachine::close(Moment now) {
  failures_.clear();
  seconds_.clear();
  closed_since_ = now;
  if (circuit_ != Circuit::Closed) move(Circuit::Closed, now);
}

void BreakerMachine::look(Moment now) {
  if (circuit_ == Circuit::HalfOpen && probing_ && now >= lease_ends_) open(lease_ends_);
}

void BreakerMachine::reset(Moment now) {
  forced_ = Forced::None;
  latches_.clear();
  throttled_until_ = {};
  openings_ = 0;
  ++generation_;  // also of one that was closed: what runs belongs to before
  probing_ = false;
  close(now);
}

void BreakerMachine::force(Forced forced, Moment now) {
  reset(now);
  forced_ = forced;
  if (forced == Forced::Open) move(Circuit::Open, now);
}

void BreakerMachine::credentialChanged() {
  latches_.clear();
  throttled_until_ = {};
  probing_ = false;
  ++generation_;
}

void BreakerMachine::toldOpened(Span left, Moment now) {
  look(now);
  if (forced_ != Forced::None || probing_ || openFor(now) > Span{0} || left <= Span{0}) return;
  if (circuit_ != Circuit::Open) open(now);
  open_until_ = now + std::min(left, rules_.window);
}

void BreakerMachine::toldWell(Moment now) {
  look(now);
  if (forced_ != Forced::None || probing_) return;
  if (circuit_ == Circuit::Open) open_until_ = now;
  if (circuit_ == Circuit::HalfOpen) close(now);
}

Span BreakerMachine::openFor(Moment now) const {
  return circuit_ == Circuit::Open && forced_ == Forced::None ? spanTo(open_until_, now) : Span{0};
}

Span BreakerMachine::throttledFor(Moment now) const { return spanTo(throttled_until_, now); }

std::string BreakerMachine::blocked() const {
  if (latches_.empty()) return {};
  const auto& [model, latch] = *latches_.begin();
  return model.empty() ? latch.reason : model + ": " + latch.reason;
}

std::size_t BreakerMachine::recentFailures(Moment now) const {
  return static_cast<std::size_t>(
      std::count_if(failures_.begin(), failures_.end(), [&](Moment at) { return at > now - rules_.window; }));
}

}  // namespace aragora::providers
