#include "daemon/providers/breaker.h"

#include <random>

#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::providers {

namespace {
constexpr Names<BreakerEvent, 5> kEvents{{{BreakerEvent::Opened, "open"},
                                          {BreakerEvent::Well, "well"},
                                          {BreakerEvent::Reset, "reset"},
                                          {BreakerEvent::ForcedOpen, "force_open"},
                                          {BreakerEvent::ForcedClosed, "force_closed"}}};
}  // namespace

std::string_view name(BreakerEvent event) { return nameIn(kEvents, event); }
std::optional<BreakerEvent> parseBreakerEvent(std::string_view name) { return parseIn(kEvents, name); }

double anyJitter() {
  thread_local std::minstd_rand random{std::random_device{}()};
  return std::uniform_real_distribution<double>(-1, 1)(random);
}

Breaker::Breaker(BreakerOptions options)
    : options_(std::move(options)), prober_(newUlid()), machine_(options_.rules, now()) {
  seen_.provider = options_.provider;
}

Breaker::Permit::Permit(Permit&& other) noexcept
    : breaker_(std::exchange(other.breaker_, nullptr)),
      admission_(other.admission_),
      began_(other.began_),
      lease_(std::move(other.lease_)) {}

Breaker::Permit::~Permit() {
  if (breaker_ == nullptr) return;
  try {
    settle({FailureKind::Stopped, {}, {}, {}, false});
  } catch (const std::exception& error) {  // a destructor
    log::debug("a permit was given back and not heard of: {}", error.what());
  }
}

void Breaker::Permit::settle(CallResult result) {
  auto* const breaker = std::exchange(breaker_, nullptr);
  if (breaker == nullptr) return;
  breaker->settle(admission_, began_, std::move(result));
  // After the others were told what came of it: none of them probes in between.
  if (!lease_.empty()) breaker->options_.leases->giveBack(breaker->options_.provider, lease_);
}

std::variant<Breaker::Permit, Rejection> Breaker::admit(Span lease, const std::string& model) {
  const auto at = now();
  look(at);
  std::unique_lock lock(mutex_);
  auto decided = machine_.admit(at, lease, model);
  if (const auto* admission = std::get_if<Admission>(&decided)) {
    lock.unlock();
    Permit permit(*this, *admission);
    auto others = admission->probe && options_.leases != nullptr ? standBack(permit, lease, model) : std::nullopt;
    if (!others) return permit;
    lock.lock();
    decided = std::move(*others);
  }
  auto rejection = std::get<Rejection>(std::move(decided));
  ++seen_.rejected.at(static_cast<std::size_t>(rejection.why));
  return rejection;
}

std::optional<Rejection> Breaker::standBack(Permit& probe, Span lease, const std::string& model) {
  probe.lease_ = prober_ + newUlid();
  auto held = options_.leases->take(options_.provider, probe.lease_, lease);
  // An earlier one of ours, which could not be given back when it ended: there is one at a time.
  const auto ours = [&] { return held && held->by.starts_with(prober_); };
  if (ours()) {
    options_.leases->giveBack(options_.provider, held->by);
    held = options_.leases->take(options_.provider, probe.lease_, lease);
  }
  if (!held || ours()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  auto rejection = machine_.standBack(probe.admission_, held->by, held->left, now(), model);
  if (rejection) probe.breaker_ = nullptr;  // it is settled
  return rejection;
}

void Breaker::settle(const Admission& admission, Moment began, CallResult result) {
  const auto at = now();
  look(at);
  std::unique_lock lock(mutex_);
  const auto before = machine_.circuit();
  const bool blocked_before = machine_.wholeEndpointBlocked();
  machine_.settle(admission, result, at);
  if (result.failure) {
    ++seen_.failures.at(static_cast<std::size_t>(*result.failure));
    if (*result.failure != FailureKind::Stopped) {
      seen_.last_failure = result.reason;
      seen_.last_failure_at = nowMicros();
    }
  } else {
    ++seen_.answers;
    seen_.last_latency = std::chrono::duration_cast<Span>(at - began);
  }
  const auto after = machine_.circuit();
  if (admission.probe) ++seen_.probes.at(!result.failure ? 0 : after == Circuit::Open ? 1 : 2);
  const auto left = machine_.openFor(at);
  const auto blocked = machine_.wholeEndpointBlocked() ? machine_.blocked() : std::string();
  lock.unlock();
  if (!blocked_before && !blocked.empty())
    log::warning("{} is not asked for now: {}", options_.provider, printable(blocked, 200));
  if (before == after) return;
  if (after == Circuit::Open) opened(left, result.reason);
  if (after == Circuit::Closed) {
    log::info("the circuit of {} is closed again", options_.provider);
    tell(BreakerEvent::Well);
  }
}

void Breaker::look(Moment at) {
  std::unique_lock lock(mutex_);
  const auto before = machine_.circuit();
  machine_.look(at);
  if (machine_.circuit() == before) return;
  const auto left = machine_.openFor(at);
  lock.unlock();
  opened(left, "its probe did not come back in time");
}

void Breaker::opened(Span left, const std::string& reason) const {
  log::warning("the circuit of {} is open for {:.0f} s: {}", options_.provider,
               std::chrono::duration<double>(left).count(), printable(reason, 200));
  tell(BreakerEvent::Opened, left);
}

BreakerState Breaker::state() {
  const auto at = now();
  look(at);
  const std::lock_guard lock(mutex_);
  auto state = seen_;
  state.circuit = machine_.circuit();
  state.forced = machine_.forced();
  state.blocked = machine_.blocked();
  state.wholly_blocked = machine_.wholeEndpointBlocked();
  state.open_for = machine_.openFor(at);
  state.throttled_for = machine_.throttledFor(at);
  state.in_state = std::chrono::duration_cast<Span>(at - machine_.since());
  state.recent_failures = machine_.recentFailures(at);
  state.transitions = machine_.transitions();
  return state;
}

bool Breaker::closedToAll() {
  const std::lock_guard lock(mutex_);
  return machine_.forced() == Forced::Open || machine_.openFor(now()) > Span{0};
}

void Breaker::reset() {
  {
    const std::lock_guard lock(mutex_);
    machine_.reset(now());
  }
  tell(BreakerEvent::Reset);
}

void Breaker::force(Forced forced) {
  if (forced == Forced::None) return reset();
  {
    const std::lock_guard lock(mutex_);
    machine_.force(forced, now());
  }
  tell(forced == Forced::Open ? BreakerEvent::ForcedOpen : BreakerEvent::ForcedClosed);
}

void Breaker::credentialChanged() {
  const std::lock_guard lock(mutex_);
  machine_.credentialChanged();
}

void Breaker::hear(BreakerEvent event, Span left) {
  const auto at = now();
  look(at);
  const std::lock_guard lock(mutex_);
  switch (event) {
    case BreakerEvent::Opened:
      return machine_.toldOpened(left, at);
    case BreakerEvent::Well:
      return machine_.toldWell(at);
    case BreakerEvent::Reset:
      return machine_.reset(at);
    case BreakerEvent::ForcedOpen:
      return machine_.force(Forced::Open, at);
    case BreakerEvent::ForcedClosed:
      return machine_.force(Forced::Closed, at);
  }
}

void Breaker::tell(BreakerEvent event, Span left) const {
  if (options_.on_news) options_.on_news({options_.provider, event, left});
}

}  // namespace aragora::providers
