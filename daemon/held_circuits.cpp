#include "daemon/held_circuits.h"

#include <pthread.h>

#include "common/base/log.h"
#include "common/store/settings.h"

namespace aragora::daemon {

namespace {
constexpr auto kInterval = std::chrono::seconds(5);

// What no version of ours wrote holds nothing.
providers::Forced parseForced(const std::string& text) {
  for (const auto forced : {providers::Forced::Open, providers::Forced::Closed})
    if (text == providers::name(forced)) return forced;
  return providers::Forced::None;
}

providers::BreakerEvent eventOf(providers::Forced forced) {
  switch (forced) {
    case providers::Forced::Open:
      return providers::BreakerEvent::ForcedOpen;
    case providers::Forced::Closed:
      return providers::BreakerEvent::ForcedClosed;
    case providers::Forced::None:
      break;
  }
  return providers::BreakerEvent::Reset;
}
}  // namespace

void HeldCircuits::start() {
  thread_ = std::jthread([this] { run(); });
}

void HeldCircuits::stop() {
  stopping_.turn();
  if (thread_.joinable()) thread_.join();
}

void HeldCircuits::run() {
  ::pthread_setname_np(::pthread_self(), "held circuits");
  const interrupt::Minding minding(stopping_);
  while (!stopping_.waitFor(kInterval)) tryToLook();
}

// The thread's catch-all, too.
void HeldCircuits::tryToLook() {
  try {
    look();
  } catch (const std::exception& error) {
    log::debug("what administrators hold was not read: {}", error.what());
  }
}

// What was changed here while the table was read is newer than what was read.
void HeldCircuits::look() {
  const auto before = providers_.conditions();
  const auto rows = database_.reading(
      [](database::Connection& connection) { return store::settingsUnder(connection, store::kForcedCircuit); });
  for (const auto& condition : before) {
    const auto& [provider, forced] = std::pair(condition.breaker.provider, condition.breaker.forced);
    const auto row = rows.find(provider);
    const auto wanted = row == rows.end() ? providers::Forced::None : parseForced(row->second);
    auto* const breaker = providers_.breaker(provider);
    if (wanted == forced || breaker == nullptr || breaker->state().forced != forced) continue;
    log::info("the circuit of {}: {}", provider,
              wanted == providers::Forced::None ? "no administrator holds it any more"
                                                : fmt::format("an administrator holds it {}", providers::name(wanted)));
    breaker->hear(eventOf(wanted), providers::Span{0});
  }
}

}  // namespace aragora::daemon
