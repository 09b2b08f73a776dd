#include "common/backup/physical/recovery_plan.h"

#include <set>

#include "common/backup/physical/wal_search.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
using Goal = RecoveryTarget::Kind;
constexpr auto kAskTime = std::chrono::milliseconds(2000);

class Planner {
 public:
  explicit Planner(const PlanOptions& options)
      : options_(options), archive_(options.directory / "wal", *options.keyring) {}

  RecoveryPlan plan() {
    askTheServer();
    auto promises = archive_.promises();  // before the listing: what comes in between is no part of it
    plan_.listing = archive_.listing();
    findBases();
    chooseBranch();
    chooseBases();
    seeHowFar();
    promises_ = std::move(promises);
    if (const auto promised = promises_.find(plan_.timeline()); promised != promises_.end())
      plan_.promised = promised->second;
    requireCovered();
    requirePromised();
    limitLog();
    return std::move(plan_);
  }

 private:
  const WalListing& listing() const { return plan_.listing; }
  const PhysicalRecord& best() const { return *plan_.bases.front().manifest->physical; }

  void findBases() {
    const Repository repository(options_.directory, options_.keyring, Kind::Base);
    if (options_.base) {  // one that was named is looked at whatever was found before
      all_ = repository.list();
      std::erase_if(all_, [&](const Entry& entry) { return entry.id != *options_.base; });
      if (all_.empty())
        throw Error(Code::NoInput, fmt::format("there is no base backup {}", printable(*options_.base, 80)),
                    "see: aragora backup list");
      Repository::requireAuthentic(all_.front(), *options_.keyring);
      return;
    }
    all_ = goodBases(options_.directory, *options_.keyring);
    if (!all_.empty()) return;
    const auto bad = repository.list();
    throw Error(
        Code::NoInput,
        bad.empty()
            ? fmt::format("there is no base backup in {}", (repository.directory() / name(Kind::Base)).describe())
            : fmt::format("none of the {} base backups in {} is good; {}: {}", bad.size(),
                          (repository.directory() / name(Kind::Base)).describe(), bad.back().id,
                          bad.back().problem.empty() ? bad.back().verifications.back().message : bad.back().problem),
        bad.empty() ? "make one: aragora backup create --kind base"
                    : "try another copy (--from), or name one with --input: see aragora backup list");
  }

  // Which way to go, and where on it the target lies when that can be known.
  void chooseBranch() {
    const auto heads = listing().heads();
    if (options_.timeline) return chooseTimeline(*options_.timeline);
    if (options_.target.kind == Goal::Name || options_.target.kind == Goal::Xid) return search();
    if (options_.target.kind == Goal::Consistent || heads.empty()) {
      const auto& physical = *all_.back().manifest->physical;
      plan_.branch = {{physical.timeline, kNever}};
      if (const auto known = listing().branches.find(physical.timeline); known != listing().branches.end())
        plan_.branch = known->second;
      return;
    }
    plan_.branch = listing().branches.at(heads.back());
    if (heads.size() == 1) return;
    if (options_.target.kind == Goal::Latest) {
      for (const auto head : heads) {
        if (head != heads.back())
          plan_.notes.push_back(
              fmt::format("timeline {} was left and has log through {}: --target-timeline {} goes there", head,
                          formatLsn(listing().end(head)), head));
      }
      return;
    }
    chooseAmong(heads);
  }

  void chooseTimeline(std::uint32_t timeline) {
    const auto known = listing().branches.find(timeline);
    const bool has_base = std::any_of(all_.begin(), all_.end(),
                                      [&](const Entry& base) { return base.manifest->physical->timeline == timeline; });
    if (known != listing().branches.end())
      plan_.branch = known->second;
    else if (has_base)  // nothing of it was received yet
      plan_.branch = {{timeline, kNever}};
    else
      throw Error(Code::NoInput, fmt::format("there is no log of timeline {}", timeline), describeHeads());
    if (options_.target.kind == Goal::Name || options_.target.kind == Goal::Xid) search();
  }

  std::string describeHeads() const {
    std::vector<std::string> texts;
    for (const auto head : listing().heads()) {
      const auto& branch = listing().branches.at(head);
      texts.push_back(fmt::format("timeline {}{} through {}", head,
                                  branch.size() > 1
                                      ? fmt::format(" (left {} at {})", branch[branch.size() - 2].timeline,
                                                    formatLsn(branch[branch.size() - 2].until))
                                      : std::string(),
                                  formatLsn(listing().end(head))));
    }
    return texts.empty() ? "no log was received" : "there is " + join(texts, ", ");
  }

  // The tree, cut where timelines were left: each stretch belongs to the ways that go through its end.
  std::vector<Stretch> stretches() const {
    std::vector<Stretch> result;
    for (const auto& [timeline, branch] : listing().branches) {
      const auto end = listing().end(timeline);
      std::set<Lsn> cuts;
      for (const auto& [other, way] : listing().branches) {
        for (const auto& step : way) {
          if (step.timeline == timeline && step.until < end) cuts.insert(step.until);
        }
      }
      cuts.insert(end);
      auto from = branch.size() > 1 ? branch[branch.size() - 2].until : firstNeeded(timeline);
      for (const auto cut : cuts) {
        if (cut <= from) continue;
        result.push_back({timeline, from, cut});
        from = cut;
      }
    }
    return result;
  }

  // Log before every base backup is of no use.
  Lsn firstNeeded(std::uint32_t timeline) const {
    Lsn first = kNever;
    for (const auto& base : all_) {
      if (base.manifest->physical->timeline == timeline) first = std::min(first, base.manifest->physical->start);
    }
    const auto on = listing().log.find(timeline);
    const auto there = on == listing().log.end() ? 0 : on->second.begin()->first * listing().segment_size;
    return first == kNever ? there : std::max(first, there);
  }

  bool entered(const Stretch& stretch) const {
    if (options_.target.kind == Goal::Position) return stretch.from < *parseLsn(options_.target.value);
    const auto first = firstCommit(archive_, listing(), stretch);
    return first && first->time <= *fromIso(options_.target.value);
  }

  // A time or a position lies on the ways whose log had begun by then. Ways that had not parted yet are one.
  void chooseAmong(const std::vector<std::uint32_t>& heads) {
    std::map<std::uint32_t, std::set<std::pair<std::uint32_t, Lsn>>> seen;
    for (const auto& stretch : stretches()) {
      if (listing().branches.at(stretch.timeline).size() == 1 && stretch.from == firstNeeded(stretch.timeline))
        continue;  // where everything begins
      if (!entered(stretch)) continue;
      for (const auto head : heads) {
        if (goesThrough(listing().branches.at(head), stretch.timeline, stretch.to))
          seen[head].insert({stretch.timeline, stretch.from});
      }
    }
    std::vector<std::uint32_t> farthest;
    for (const auto head : heads) {
      const bool contained = std::any_of(heads.begin(), heads.end(), [&](std::uint32_t other) {
        return std::includes(seen[other].begin(), seen[other].end(), seen[head].begin(), seen[head].end()) &&
               (seen[other].size() > seen[head].size() || other > head);
      });
      if (!contained) farthest.push_back(head);
    }
    if (farthest.size() > 1)
      throw Error(
          Code::Usage,
          fmt::format("{} lies on {} timelines: {}", describe(options_.target), farthest.size(), describeHeads()),
          fmt::format("say which: --target-timeline {}", farthest.back()));
    plan_.branch = listing().branches.at(farthest.front());
    if (farthest.front() != heads.back())
      plan_.notes.push_back(fmt::format("the target lies on timeline {}, which was left later", farthest.front()));
  }

  // Restore points and transactions: where are they?
  void search() {
    std::vector<LogMatch> found;
    for (const auto& stretch : stretches()) {
      if (!plan_.branch.empty() && !goesThrough(plan_.branch, stretch.timeline, stretch.to)) {
        // The last timeline that was asked for, also behind where another left it.
        if (stretch.timeline != plan_.branch.back().timeline) continue;
      }
      const auto here = options_.target.kind == Goal::Name
                            ? findRestorePoint(archive_, listing(), stretch, options_.target.value)
                            : findTransaction(archive_, listing(), stretch,
                                              static_cast<std::uint32_t>(*parseInteger(options_.target.value)));
      found.insert(found.end(), here.begin(), here.end());
    }
    if (found.empty()) {
      if (options_.target.kind == Goal::Xid) refuseSubtransaction();
      outside();
    }
    if (found.size() > 1) {
      std::vector<std::string> places;
      places.reserve(found.size());
      for (const auto& match : found)
        places.push_back(fmt::format("{} on timeline {}", formatLsn(match.at), match.timeline));
      throw Error(
          Code::Usage,
          fmt::format("{} is in the log {} times: {}", describe(options_.target), found.size(), join(places, ", ")),
          "say which: --target-timeline, or --target-lsn");
    }
    at_ = found.front().at;
    if (!plan_.branch.empty()) return;
    for (const auto head : listing().heads()) {
      const auto& branch = listing().branches.at(head);
      if (goesThrough(branch, found.front().timeline, found.front().at)) plan_.branch = branch;
    }
  }

  // It ends with the transaction that it is a part of, and PostgreSQL stops at that one only.
  void refuseSubtransaction() {
    const auto xid = static_cast<std::uint32_t>(*parseInteger(options_.target.value));
    for (const auto& stretch : stretches()) {
      if (const auto whole = findTransactionAround(archive_, listing(), stretch, xid))
        throw Error(Code::NoInput, fmt::format("transaction {} is a subtransaction of {}", xid, *whole),
                    fmt::format("it ends with that one: --target-xid {}", *whole));
    }
  }

  void chooseBases() {
    for (auto base = all_.rbegin(); base != all_.rend(); ++base) {
      const auto& physical = *base->manifest->physical;
      if (goesThrough(plan_.branch, physical.timeline, physical.stop) && endsBefore(*base))
        plan_.bases.push_back(*base);
    }
    if (!plan_.bases.empty()) return Repository::requireAuthentic(plan_.bases.front(), *options_.keyring);
    if (options_.base)
      throw Error(Code::NoInput,
                  fmt::format("base backup {} does not lead to {} on timeline {}", *options_.base,
                              describe(options_.target), plan_.timeline()),
                  "leave --input out, or choose a later target");
    outside();
  }

  bool endsBefore(const Entry& base) const {
    const auto stop = base.manifest->physical->stop;
    if (at_) return stop <= *at_;
    if (options_.target.kind == Goal::Position) return stop <= *parseLsn(options_.target.value);
    // Of older backups by our clock; should the server's differ, recovery finds out and the next one is taken.
    if (options_.target.kind == Goal::Time) return base.manifest->recoverableFrom() <= *fromIso(options_.target.value);
    return true;
  }

  void seeHowFar() {
    const auto reach = listing().reachAlong(plan_.branch, best().timeline, logNeededFrom(listing(), best()));
    plan_.end = std::max(reach.end, best().stop);
    if (options_.target.kind == Goal::Consistent) return;
    if (at_ && plan_.end <= *at_) outside();
    if (options_.target.kind == Goal::Position && plan_.end < *parseLsn(options_.target.value)) outside();
    if (reach.gap && options_.target.kind == Goal::Latest)
      throw Error(
          Code::NoInput,
          fmt::format("the log after base backup {} has a gap at {}", plan_.bases.front().id, formatLsn(reach.end)),
          fmt::format("recover to it with --target-lsn {}, or use a base backup made after it", formatLsn(reach.end)));
    if (!reach.gap && reach.timeline != plan_.timeline() && options_.target.kind == Goal::Latest)
      throw Error(Code::NoInput,
                  fmt::format("the log after base backup {} does not lead to timeline {}", plan_.bases.front().id,
                              plan_.timeline()),
                  describeHeads());
  }

  void requireCovered() {
    if (plan_.promised && plan_.promised->durable_through > 0 && plan_.end >= plan_.promised->flushed)
      plan_.covered = plan_.promised->durable_through;
    if (options_.target.kind == Goal::Time && plan_.promised && plan_.promised->durable_through > 0 &&
        plan_.promised->durable_through < *fromIso(options_.target.value))
      outside();
  }

  // «Everything» is what was confirmed; other targets are found in the log or not.
  void requirePromised() {
    plan_.missing = missing();
    if (plan_.missing.empty() || options_.target.kind != Goal::Latest) return;
    if (!options_.accept_loss) throw Error(Code::Damaged, plan_.missing, kLossHint);
    plan_.losses.push_back(plan_.missing);
  }

  std::string missing() const {
    if (plan_.promised) {
      if (auto less = archive_.shortOf(listing(), *plan_.promised); !less.empty()) return less;
    } else if (auto less = archive_.withoutPromise(listing(), plan_.timeline()); !less.empty()) {
      return less;
    }
    if (!options_.timeline) {
      if (auto less = laterTimelinesLack(); !less.empty()) return less;
    }
    if (server_confirmed_ && server_timeline_ == plan_.timeline() && *server_confirmed_ > plan_.end)
      return fmt::format("the server was told that its log is safe through {}, the log in {} ends at {}",
                         formatLsn(*server_confirmed_), archive_.directory().describe(), formatLsn(plan_.end));
    return {};
  }

  // «The end» is on the newest timeline that was ever confirmed. One that is gone as a whole is in no listing.
  std::string laterTimelinesLack() const {
    for (const auto& [timeline, promised] : promises_) {
      if (timeline <= plan_.timeline()) continue;
      if (auto less = archive_.shortOf(listing(), promised); !less.empty()) return less;
    }
    for (const auto timeline : archive_.confirmedTimelines().value_or(std::set<std::uint32_t>())) {
      if (timeline <= plan_.timeline() || promises_.count(timeline) > 0) continue;
      if (auto less = archive_.withoutPromise(listing(), timeline); !less.empty()) return less;
    }
    return {};
  }

  void limitLog() {
    if (options_.most_log == 0 || options_.target.kind != Goal::Latest) return;
    const auto most = logNeededFrom(listing(), best()) + options_.most_log;
    if (plan_.end <= most) return;
    plan_.end = most;
    plan_.whole = false;
  }

  // What a physical slot keeps the log from is what its receiver said to be on disk: kept where no loss of ours
  // reaches.
  void askTheServer() {
    if (options_.live == nullptr) return;
    try {
      auto target = *options_.live;
      target.connect_timeout = kAskTime;
      target.statement_timeout = kAskTime;
      const auto connection = database::connect(target);
      const auto status = archive_.readStatus();
      const auto rows = connection->query(
          "SELECT restart_lsn::text, (SELECT timeline_id FROM pg_control_checkpoint()), (SELECT "
          "system_identifier::text FROM pg_control_system()) FROM pg_replication_slots WHERE slot_name = $1 AND "
          "slot_type = 'physical' AND restart_lsn IS NOT NULL",
          {status && !status->slot.empty() ? status->slot : "aragora"});
      const auto bases = goodBases(options_.directory, *options_.keyring);
      if (rows.empty() || bases.empty() || bases.back().manifest->physical->system_identifier != rows[0].text(2))
        return;
      server_confirmed_ = parseLsn(rows[0].text(0));
      server_timeline_ = static_cast<std::uint32_t>(rows[0].integer(1));
    } catch (const Error& error) {  // where there is a server to ask, recovery is rarely needed
      plan_.notes.push_back(fmt::format("what the live server was told is safe could not be asked: {}", error.what()));
    }
  }

  [[noreturn]] void outside() {
    const auto window = recoveryWindow(options_.directory, *options_.keyring);
    throw Error(Code::NoInput,
                fmt::format("{} cannot be reached: recovery is possible from {} through {} (position {})",
                            describe(options_.target), window ? toIso(window->from) : "nowhere",
                            window && window->through ? toIso(*window->through) : "the end of the log",
                            window ? formatLsn(window->end) : "none"),
                fmt::format("choose a target inside of it, or --latest; {}", describeHeads()));
  }

  const PlanOptions& options_;
  WalArchive archive_;
  RecoveryPlan plan_;
  std::vector<Entry> all_;
  std::map<std::uint32_t, ConfirmedLog> promises_;
  std::optional<Lsn> at_;  // of a restore point or a transaction
  std::optional<Lsn> server_confirmed_;
  std::uint32_t server_timeline_ = 0;
};
}  // namespace

RecoveryPlan planRecovery(const PlanOptions& options) {
  requireWellFormed(options.target);
  return Planner(options).plan();
}

std::vector<std::string> RecoveryPlan::order(const PhysicalRecord& base) const {
  std::vector<std::string> names;
  const auto size = listing.segment_size;
  if (size == 0) return names;
  bool begun = false;
  auto number = base.start / size;
  for (const auto& step : branch) {
    begun |= step.timeline == base.timeline;
    if (!begun) continue;
    const auto until = std::min(step.until, end);
    // The segment in which a timeline is left is asked of the next one.
    for (; number * size < until; ++number) {
      if (listing.find(step.timeline, number) != nullptr) names.push_back(segmentName({step.timeline, number}, size));
    }
    number = until / size;
  }
  return names;
}

}  // namespace aragora::backup
