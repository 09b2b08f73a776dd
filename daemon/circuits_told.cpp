#include "daemon/circuits_told.h"

#include "common/base/log.h"
#include "common/store/settings.h"

namespace aragora::daemon {

namespace {
std::string why(const providers::BreakerState& state) {
  if (state.forced != providers::Forced::None) return "an administrator holds it";
  return state.last_failure.empty() ? "another instance saw it fail" : state.last_failure;
}

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

cluster::Hint hintOf(const providers::BreakerNews& news) {
  return {.kind = cluster::HintKind::Breaker,
          .debate_id = fmt::format("{}:{}", news.provider, providers::name(news.event)),
          .seq = news.left.count()};
}

void hear(const cluster::Hint& hint, const providers::Providers& providers) {
  const auto colon = hint.debate_id.find(':');
  if (colon == std::string::npos) return;
  const auto event = providers::parseBreakerEvent(hint.debate_id.substr(colon + 1));
  auto* breaker = providers.breaker(hint.debate_id.substr(0, colon));
  if (event && breaker != nullptr) breaker->hear(*event, std::chrono::milliseconds(hint.seq));
}

// What was changed here while the table was read is newer than what was read.
void holdForced(database::Database& database, const providers::Providers& providers) {
  const auto before = providers.conditions();
  const auto rows = database.reading(
      [](database::Connection& connection) { return store::settingsUnder(connection, store::kForcedCircuit); });
  for (const auto& condition : before) {
    const auto& [provider, forced] = std::pair(condition.breaker.provider, condition.breaker.forced);
    const auto row = rows.find(provider);
    const auto wanted = row == rows.end() ? providers::Forced::None : parseForced(row->second);
    auto* const breaker = providers.breaker(provider);
    if (wanted == forced || breaker == nullptr || breaker->state().forced != forced) continue;
    log::info("the circuit of {}: {}", provider,
              wanted == providers::Forced::None ? "no administrator holds it any more"
                                                : fmt::format("an administrator holds it {}", providers::name(wanted)));
    breaker->hear(eventOf(wanted), providers::Span{0});
  }
}

std::vector<lifecycle::Outage> outagesOf(const providers::Providers& providers) {
  std::vector<lifecycle::Outage> all;
  for (const auto& one : providers.conditions()) {
    const auto& state = one.breaker;
    if (state.circuit != providers::Circuit::Closed)
      all.push_back(
          {state.provider, fmt::format("its circuit is {} ({})", providers::name(state.circuit), why(state))});
    else if (state.wholly_blocked)
      all.push_back({state.provider, state.blocked});
  }
  return all;
}

}  // namespace aragora::daemon
