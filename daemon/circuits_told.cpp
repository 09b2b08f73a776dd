#include "daemon/circuits_told.h"

namespace aragora::daemon {

namespace {
std::string why(const providers::BreakerState& state) {
  if (state.forced != providers::Forced::None) return "an administrator holds it";
  return state.last_failure.empty() ? "another instance saw it fail" : state.last_failure;
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
