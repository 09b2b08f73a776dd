#include "common/backup/physical/recovery_window.h"

#include "common/base/error.h"

namespace aragora::backup {

std::vector<Entry> goodBases(const storage::Place& directory, const crypto::Keyring& keyring) {
  auto entries = Repository(directory, &keyring, Kind::Base).list();
  std::erase_if(entries, [](const Entry& entry) { return !entry.good() || !entry.manifest->physical; });
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    const auto& one = *a.manifest->physical;
    const auto& other = *b.manifest->physical;
    return std::pair(one.timeline, one.stop) < std::pair(other.timeline, other.stop);
  });
  return entries;
}

Lsn logNeededFrom(const WalListing& listing, const PhysicalRecord& base) {
  const auto size = listing.segment_size;
  return size == 0 ? base.stop : (base.stop + size - 1) / size * size;
}

namespace {
std::vector<BranchState> branchStates(const WalListing& listing, const std::map<std::uint32_t, ConfirmedLog>& promises,
                                      const std::vector<Entry>& bases) {
  std::vector<BranchState> states;
  for (const auto head : listing.heads()) {
    const auto& branch = listing.branches.at(head);
    BranchState state{head, 0, 0, listing.end(head), std::nullopt, {}};
    if (branch.size() > 1) {
      state.parent = branch[branch.size() - 2].timeline;
      state.left_parent_at = branch[branch.size() - 2].until;
    }
    const auto promised = promises.find(head);
    if (promised != promises.end() && promised->second.durable_through > 0)
      state.through = promised->second.durable_through;
    for (const auto& base : bases) {
      const auto& physical = *base.manifest->physical;
      if (!goesThrough(branch, physical.timeline, physical.stop)) continue;
      if (listing.reachAlong(branch, physical.timeline, logNeededFrom(listing, physical)).gap) continue;
      state.base = base.id;
      break;
    }
    states.push_back(std::move(state));
  }
  return states;
}

// The oldest base that reaches the end of the log, or the newest with how far it reaches.
void chooseBase(RecoveryWindow& window, const WalListing& listing, const std::vector<Entry>& bases) {
  const auto heads = listing.heads();
  bool found = false;
  for (const auto& base : bases) {
    const auto& physical = *base.manifest->physical;
    const auto from = logNeededFrom(listing, physical);
    WalListing::Reach reach{physical.timeline, from, false};
    if (!heads.empty()) {
      const auto& branch = listing.branches.at(heads.back());
      reach = goesThrough(branch, physical.timeline, physical.stop)
                  ? listing.reachAlong(branch, physical.timeline, from)
                  : listing.reach(physical.timeline, physical.stop, from);
      reach.gap |= reach.timeline != heads.back();
    }
    if (found && !window.gap) return;
    found = true;
    window.base = base.id;
    window.from = base.manifest->recoverableFrom();
    window.timeline = reach.timeline;
    window.end = std::max(reach.end, physical.stop);
    window.gap = reach.gap;
  }
}
// What was confirmed and is not here, of the log that some base backup leads to; what lies before all of them was let
// go.
std::string missingLog(const WalArchive& archive, const WalListing& listing,
                       const std::map<std::uint32_t, ConfirmedLog>& promises, const std::vector<Entry>& bases) {
  const auto& first = *bases.front().manifest->physical;
  for (const auto& [timeline, confirmed] : promises) {
    if (std::pair(timeline, confirmed.flushed) <= std::pair(first.timeline, first.stop)) continue;
    if (auto less = archive.shortOf(listing, confirmed); !less.empty()) return less;
  }
  std::set<std::uint32_t> timelines = archive.confirmedTimelines().value_or(std::set<std::uint32_t>());
  for (const auto& [timeline, ignored] : listing.log) timelines.insert(timeline);
  for (const auto timeline : timelines) {
    if (timeline < first.timeline || promises.count(timeline) > 0) continue;
    if (auto less = archive.withoutPromise(listing, timeline); !less.empty()) return less;
  }
  return {};
}
}  // namespace

std::optional<RecoveryWindow> recoveryWindow(const storage::Place& directory, const crypto::Keyring& keyring) {
  const WalArchive archive(directory / "wal", keyring);
  const auto bases = goodBases(directory, keyring);
  if (bases.empty()) return std::nullopt;
  RecoveryWindow window;
  std::map<std::uint32_t, ConfirmedLog> promises;
  try {
    promises = archive.promises();
  } catch (const Error& error) {
    window.missing = error.what();
  }
  const auto listing = archive.listing();
  chooseBase(window, listing, bases);
  window.branches = branchStates(listing, promises, bases);
  window.interruptions = listing.interruptions;
  if (window.missing.empty()) window.missing = missingLog(archive, listing, promises, bases);
  if (const auto promised = promises.find(window.timeline); promised != promises.end()) {
    window.promised = promised->second.flushed;
    if (!window.gap && promised->second.durable_through > 0)
      window.through = std::max(window.from, promised->second.durable_through);
  }
  return window;
}

}  // namespace aragora::backup
