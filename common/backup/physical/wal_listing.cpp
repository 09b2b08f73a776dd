#include "common/backup/physical/wal_listing.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

bool goesThrough(const WalListing::Branch& branch, std::uint32_t timeline, Lsn lsn) {
  return std::any_of(branch.begin(), branch.end(),
                     [&](const WalListing::Step& step) { return step.timeline == timeline && lsn <= step.until; });
}

WalListing::Branch parseHistory(std::uint32_t timeline, const std::string& text) {
  WalListing::Branch branch;
  for (const auto& line : split(text, '\n')) {
    const auto words = split(replaceAll(line, "\t", " "), ' ');
    if (words.empty() || startsWith(words[0], "#")) continue;
    const auto parent = parseInteger(words[0]);
    const auto left = words.size() > 1 ? parseLsn(words[1]) : std::nullopt;
    if (!parent || *parent < 1 || !left)
      throw Error(Code::Damaged, fmt::format("the history of timeline {} cannot be read", timeline));
    branch.push_back({static_cast<std::uint32_t>(*parent), *left});
  }
  branch.push_back({timeline, kNever});
  // A recovery along a timeline to a moment before it began leaves it below its beginning: those before were left
  // there.
  for (std::size_t i = branch.size() - 1; i > 0; --i)
    branch[i - 1].until = std::min(branch[i - 1].until, branch[i].until);
  return branch;
}

const WalListing::Segment* WalListing::find(std::uint32_t timeline, std::uint64_t number) const {
  const auto on = log.find(timeline);
  if (on == log.end()) return nullptr;
  const auto found = on->second.find(number);
  return found == on->second.end() ? nullptr : &found->second;
}

Lsn WalListing::end(std::uint32_t timeline) const {
  const auto on = log.find(timeline);
  if (on == log.end() || on->second.empty()) return 0;
  const auto& [number, segment] = *on->second.rbegin();
  return number * segment_size + segment.size;
}

WalListing::Reach WalListing::reachAlong(const Branch& branch, std::uint32_t timeline, Lsn start) const {
  Reach reach{timeline, start, false};
  if (segment_size == 0) return reach;
  auto step = std::find_if(branch.begin(), branch.end(), [&](const Step& one) { return one.timeline == timeline; });
  for (auto wanted = start / segment_size; step != branch.end(); ++step) {
    reach.timeline = step->timeline;
    const auto broken = std::find_if(interruptions.begin(), interruptions.end(), [&](const Interruption& one) {
      return !one.replayable && one.timeline == step->timeline && one.after >= start && one.after < step->until;
    });
    // The first segment of the next timeline holds the end of this one too.
    const auto next = std::next(step);
    const bool handed_on = next != branch.end() && find(next->timeline, step->until / segment_size) != nullptr;
    const auto needed = handed_on ? step->until / segment_size * segment_size : step->until;
    const auto limit = broken == interruptions.end() ? needed : std::min(needed, broken->after);
    while (wanted * segment_size < limit) {
      const auto* segment = find(step->timeline, wanted);
      if (segment != nullptr) reach.end = std::max(reach.end, std::min(limit, wanted * segment_size + segment->size));
      if (reach.end >= limit) break;
      if (segment == nullptr || segment->size < segment_size) {
        // Whatever comes later, on this timeline or on the next, is behind a gap.
        reach.gap = end(step->timeline) > (wanted + 1) * segment_size || next != branch.end();
        return reach;
      }
      ++wanted;
    }
    if (broken != interruptions.end()) {
      reach.gap = true;
      return reach;
    }
    wanted = step->until / segment_size;
  }
  return reach;
}

WalListing::Reach WalListing::reach(std::uint32_t timeline, Lsn through, Lsn start) const {
  const auto all = heads();
  for (auto head = all.rbegin(); head != all.rend(); ++head) {
    const auto& branch = branches.at(*head);
    if (goesThrough(branch, timeline, through)) return reachAlong(branch, timeline, start);
  }
  return reachAlong({{timeline, kNever}}, timeline, start);
}

std::vector<std::uint32_t> WalListing::heads() const {
  std::vector<std::uint32_t> result;
  for (const auto& [timeline, branch] : branches) {
    const auto last = end(timeline);
    const bool left = std::any_of(branches.begin(), branches.end(), [&, timeline = timeline](const auto& other) {
      // Only a timeline that has log of its own continues another.
      return other.first != timeline && goesThrough(other.second, timeline, last) &&
             std::any_of(other.second.begin(), other.second.end(),
                         [&](const Step& step) { return step.timeline == timeline && end(other.first) > step.until; });
    });
    if (!left) result.push_back(timeline);
  }
  return result;
}

}  // namespace aragora::backup
