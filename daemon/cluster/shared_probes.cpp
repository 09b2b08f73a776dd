#include "daemon/cluster/shared_probes.h"

#include <future>

#include "common/base/text.h"

namespace aragora::cluster {

namespace {
constexpr auto kLeaseReturns = std::chrono::milliseconds(1000);

// KEYS: the lease. ARGV: the probe, milliseconds. Answers nothing when it has it, otherwise who has and for how long;
// of a name that is none of ours as much as one of ours is long.
constexpr std::string_view kTakeLease = R"(
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return {} end
return {redis.call('GETRANGE', KEYS[1], 0, 63), redis.call('PTTL', KEYS[1])}
)";
constexpr std::string_view kGiveLeaseBack = R"(
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {}
)";

std::optional<providers::ProbeLeases::Held> readHolder(const redis::Reply* reply) {
  if (reply == nullptr || reply->kind != redis::Reply::Kind::Array || reply->elements.size() != 2) return std::nullopt;
  const auto left = reply->elements[1].integer;
  // A key that never runs out is none of ours. Whoever asks believes it for as long as a lease may last.
  return providers::ProbeLeases::Held{reply->elements[0].text,
                                      left < 0 ? providers::Span::max() : providers::Span(left)};
}
}  // namespace

SharedProbes::SharedProbes(Sisters& sisters, std::chrono::milliseconds patience)
    : sisters_(sisters), patience_(patience), take_(std::string(kTakeLease)), give_back_(std::string(kGiveLeaseBack)) {}

std::optional<SharedProbes::Held> SharedProbes::take(const std::string& provider, const std::string& probe,
                                                     providers::Span lease) {
  auto* const link = sisters_.link();
  if (link == nullptr || link->state() != redis::LinkState::Connected) return std::nullopt;
  auto answered = std::make_shared<std::promise<std::optional<Held>>>();  // shared with an answer that may come late
  auto answer = answered->get_future();
  const bool asked = take_.run(*link, {keyOf(provider)}, {probe, fmt::format("{}", lease.count())}, patience_,
                               [answered](const redis::Reply* reply) { answered->set_value(readHolder(reply)); });
  if (!asked || answer.wait_for(patience_) != std::future_status::ready) return std::nullopt;
  return answer.get();
}

// Also what was not answered: it may have been taken later.
void SharedProbes::giveBack(const std::string& provider, const std::string& probe) {
  if (auto* const link = sisters_.link())
    give_back_.run(*link, {keyOf(provider)}, {probe}, kLeaseReturns, [](const redis::Reply*) {});
}

}  // namespace aragora::cluster
