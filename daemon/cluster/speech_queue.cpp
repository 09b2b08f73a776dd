#include "daemon/cluster/speech_queue.h"

#include <algorithm>
#include <utility>

namespace aragora::cluster {

namespace {
constexpr std::size_t kPartOverhead = 256;
}  // namespace

void Ears::add(const std::string& debate_id, const std::string& instance, Time now) {
  if (instance.size() > kLongestName) return;
  if (until_.size() >= kMostDebates && until_.count(debate_id) == 0) forgetOld(now);
  if (until_.size() >= kMostDebates && until_.count(debate_id) == 0) return;
  auto& instances = until_[debate_id];
  if (instances.size() < kMostInstances || instances.count(instance) > 0) instances[instance] = now + kPatience;
}

bool Ears::any(const std::string& debate_id, Time now) const {
  const auto found = until_.find(debate_id);
  return found != until_.end() &&
         std::any_of(found->second.begin(), found->second.end(), [now](const auto& one) { return one.second > now; });
}

std::vector<std::string> Ears::of(const std::string& debate_id, Time now) const {
  std::vector<std::string> instances;
  const auto found = until_.find(debate_id);
  if (found == until_.end()) return instances;
  for (const auto& [instance, until] : found->second) {
    if (until > now) instances.push_back(instance);
  }
  return instances;
}

void Ears::forgetOld(Time now) {
  for (auto debate = until_.begin(); debate != until_.end();) {
    std::erase_if(debate->second, [now](const auto& one) { return one.second <= now; });
    debate = debate->second.empty() ? until_.erase(debate) : std::next(debate);
  }
}

bool Unsent::add(const wire::Delta& delta) {
  const auto found = said_.find(delta.debate_id);
  wire::Delta* before = nullptr;
  if (found != said_.end()) {
    auto& parts = found->second;
    const auto same =
        std::find_if(parts.rbegin(), parts.rend(), [&](const auto& one) { return one.agent == delta.agent; });
    if (same != parts.rend() && same->continuedBy(delta)) before = &*same;
  }
  const auto size = delta.text.size() + (before != nullptr ? 0 : kPartOverhead);
  if (bytes_ + size > kMostBytes) return false;
  bytes_ += size;
  if (before != nullptr)
    before->append(delta);
  else
    said_[delta.debate_id].push_back(delta);
  return true;
}

Unsent::Said Unsent::take() {
  bytes_ = 0;
  return std::exchange(said_, {});
}

}  // namespace aragora::cluster
