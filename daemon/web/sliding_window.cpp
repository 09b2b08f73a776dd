#include "daemon/web/sliding_window.h"

#include <algorithm>

namespace aragora::web {

Span groupSpan(const Rate& rate) { return std::max(rate.window / kGroupsInWindow, Span(1)); }

Verdict Events::decide(const Rate& rate, Span now, Counting counting) {
  if (rate.limit <= 0) return {};
  forget(now - rate.window);
  Verdict verdict;
  if (counting == Counting::GiveBack)
    giveBack();
  else
    verdict.allowed = total_ < rate.limit;
  if (counting == Counting::Take && verdict.allowed) add(rate, now);
  verdict.remaining = std::max<std::int64_t>(rate.limit - total_, 0);
  verdict.wait = untilOneMore(rate, now);
  return verdict;
}

void Events::add(const Rate& rate, Span now) {
  ++total_;
  // A group is of one slot of the clock: if each could be near the one before it, all of them were one.
  if (!kept_.empty() && kept_.back().at / groupSpan(rate) == now / groupSpan(rate))
    kept_.back() = {now, kept_.back().count + 1};
  else
    kept_.push_back({now, 1});
}

std::int64_t Events::after(Span moment) const {
  std::int64_t count = 0;
  for (auto group = kept_.rbegin(); group != kept_.rend() && group->at > moment; ++group) count += group->count;
  return count;
}

void Events::forget(Span until) {
  const auto stays = std::find_if(kept_.begin(), kept_.end(), [until](const Group& group) { return group.at > until; });
  for (auto group = kept_.begin(); group != stays; ++group) total_ -= group->count;
  kept_.erase(kept_.begin(), stays);
}

void Events::giveBack() {
  if (kept_.empty()) return;
  --total_;
  if (--kept_.back().count == 0) kept_.pop_back();
}

Span Events::untilOneMore(const Rate& rate, Span now) const {
  auto leave = std::max<std::int64_t>(total_ - rate.limit + 1, 1);
  for (const auto& group : kept_) {
    leave -= group.count;
    if (leave <= 0) return group.at + rate.window - now;
  }
  return Span(0);
}

std::int64_t wholeSeconds(Span span) { return (span.count() + 999'999) / 1'000'000; }

}  // namespace aragora::web
