#include "common/store/standings.h"

#include <cmath>

#include "common/base/interrupt.h"
#include "common/base/names.h"
#include "common/store/settings.h"

namespace aragora::store {

using ratings::Rating;

namespace {
constexpr std::size_t kMostPoints = 500;  // of each
constexpr std::size_t kMostDomains = 1000;
constexpr std::size_t kMostRecent = 100;
constexpr std::size_t kMostMet = 20;
constexpr std::size_t kTrend = 5;  // matches

constexpr Names<Standings::Order, 6> kOrders{{{Standings::Order::Rank, "rank"},
                                              {Standings::Order::Elo, "elo"},
                                              {Standings::Order::Matches, "matches"},
                                              {Standings::Order::Wins, "wins"},
                                              {Standings::Order::WinRate, "win_rate"},
                                              {Standings::Order::Name, "name"}}};

double winRate(const Rating& rating) {
  return rating.matches > 0 ? static_cast<double>(rating.wins) / static_cast<double>(rating.matches) : 0;
}

// Whether a comes before b: the larger first, names from a to z.
bool before(Standings::Order order, const Rating& a, const Rating& b) {
  switch (order) {
    case Standings::Order::Rank:
      return false;  // as they stand
    case Standings::Order::Elo:
      return a.elo > b.elo;
    case Standings::Order::Matches:
      return a.matches > b.matches;
    case Standings::Order::Wins:
      return a.wins > b.wins;
    case Standings::Order::WinRate:
      return winRate(a) > winRate(b);
    case Standings::Order::Name:
      return a.name < b.name;
  }
  return false;
}
}  // namespace

std::optional<Standings::Order> Standings::parseOrder(std::string_view name) { return parseIn(kOrders, name); }

void Standings::count(State& state, const LoggedMatch& logged) {
  auto played = std::make_shared<Played>(Played{logged.debate_id, logged.at, logged.match.domain, {}});
  const auto changes = state.all.table.count(logged.match, logged.at);
  ++state.all.matches;
  for (const auto& change : changes) played->seats.push_back({change.name, change.result, change.votes, change.points});
  for (const auto& change : changes) {
    const auto& rating = state.all.table.ratings().at(change.name);
    auto& points = state.points[change.name];
    points.push_front({played, change.result, change.elo_before, rating.elo, rating.glicko});
    if (points.size() > kMostPoints) points.pop_back();
  }
  for (const auto& seat : logged.match.seats) state.spoke_last[seat.agent] = ratings::identityOf(seat);
  state.recent.push_front(std::move(played));
  if (state.recent.size() > kMostRecent) state.recent.pop_back();
  const auto& domain = logged.match.domain;
  if (domain.empty() || (state.domains.size() >= kMostDomains && state.domains.count(domain) == 0)) return;
  auto& kept = state.domains[domain];
  kept.table.count(logged.match, logged.at);
  ++kept.matches;
}

// One at a time; those who read go on meanwhile, except for the moments in which something is added.
void Standings::takeIn() {
  const std::lock_guard alone(extending_);
  const auto removed = database_.reading(
      [](database::Connection& connection) { return readSetting(connection, kDebatesRemoved).value_or("0"); });
  MatchLog log(database_);
  if (!state_.known || state_.removed != removed) {
    State fresh;
    fresh.known = true;
    fresh.removed = removed;
    for (auto matches = log.next(fresh.place); !matches.empty(); matches = log.next(fresh.place)) {
      for (const auto& match : matches) count(fresh, match);
      interrupt::check();
    }
    const std::unique_lock lock(mutex_);
    std::swap(state_, fresh);
    return;
  }
  auto place = state_.place;
  for (auto matches = log.next(place); !matches.empty(); matches = log.next(place)) {
    const std::unique_lock lock(mutex_);
    for (const auto& match : matches) count(state_, match);
    state_.place = place;
  }
}

std::int64_t Standings::warm() {
  takeIn();
  const std::shared_lock lock(mutex_);
  return state_.all.matches;
}

std::optional<std::string> Standings::known(const std::string& name) const {
  if (state_.all.table.ratings().count(name) > 0) return name;
  const auto spoke = state_.spoke_last.find(name);
  return spoke == state_.spoke_last.end() ? std::nullopt : std::optional(spoke->second);
}

Standings::Entry Standings::entryOf(const ratings::Ranked& ranked) const {
  Entry entry{*ranked.rating, ranked.now, ranked.rank, 0};
  if (const auto points = state_.points.find(entry.rating.name); points != state_.points.end()) {
    const auto& list = points->second;
    entry.recent = list.front().elo - list.at(std::min(kTrend, list.size()) - 1).elo_before;
  }
  return entry;
}

std::vector<Standings::Entry> Standings::ranking(const std::string& domain) const {
  const auto found = state_.domains.find(domain);
  if (!domain.empty() && found == state_.domains.end()) return {};
  const auto& kept = domain.empty() ? state_.all : found->second;
  std::vector<Entry> entries;
  for (const auto& one : ratings::ranked(kept.table.ratings(), nowMicros())) entries.push_back(entryOf(one));
  return entries;
}

std::optional<Standings::Entry> Standings::entryOf(const std::string& domain, const std::string& name) const {
  for (auto& entry : ranking(domain)) {
    if (entry.rating.name == name) return std::optional(std::move(entry));
  }
  return std::nullopt;
}

Standings::Page Standings::page(const Query& query) {
  takeIn();
  const std::shared_lock lock(mutex_);
  auto entries = ranking(query.domain);
  std::erase_if(entries, [&](const Entry& entry) { return entry.rating.matches < query.min_matches; });
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const Entry& a, const Entry& b) { return before(query.order, a.rating, b.rating); });
  if (query.backwards) std::reverse(entries.begin(), entries.end());
  Page page{{}, static_cast<std::int64_t>(entries.size())};
  for (auto at = query.offset; at < page.total && at < query.offset + query.limit; ++at)
    page.entries.push_back(std::move(entries[static_cast<std::size_t>(at)]));
  return page;
}

std::optional<Standings::History> Standings::history(const std::string& asked, std::int64_t limit) {
  takeIn();
  const std::shared_lock lock(mutex_);
  const auto name = known(asked);
  auto entry = name ? entryOf("", *name) : std::nullopt;
  if (!entry) return std::nullopt;
  History history{std::move(*entry), {}, {}};
  for (const auto& point : state_.points.at(*name)) {
    if (static_cast<std::int64_t>(history.points.size()) >= limit) break;
    history.points.push_back(point);
  }
  for (const auto& [domain, kept] : state_.domains) {
    if (kept.table.ratings().count(*name) == 0) continue;
    if (auto there = entryOf(domain, *name)) history.domains.emplace(domain, std::move(*there));
  }
  return history;
}

std::optional<Standings::Comparison> Standings::compare(const std::string& one, const std::string& other,
                                                        std::string& missing) {
  takeIn();
  const std::shared_lock lock(mutex_);
  const auto first = known(one);
  const auto second = known(other);
  auto entry = first ? entryOf("", *first) : std::nullopt;
  auto opponent = second ? entryOf("", *second) : std::nullopt;
  missing = !entry ? one : other;
  if (!entry || !opponent) return std::nullopt;
  Comparison comparison{std::move(*entry), std::move(*opponent), 0, 0, 0, {}};
  for (const auto& point : state_.points.at(*first)) {
    const auto pointsOf = [&](const std::string& name) -> std::optional<double> {
      for (const auto& seat : point.match->seats) {
        if (seat.name == name) return seat.points;
      }
      return std::nullopt;
    };
    const auto theirs = *first == *second ? std::nullopt : pointsOf(*second);
    if (!theirs) continue;
    const auto ours = pointsOf(*first).value_or(0);
    ++(ours > *theirs ? comparison.won : ours < *theirs ? comparison.lost : comparison.drew);
    if (comparison.met.size() < kMostMet) comparison.met.push_back(point);
  }
  return comparison;
}

std::vector<Standings::Mover> Standings::movers(Micros since, std::int64_t limit) {
  takeIn();
  const std::shared_lock lock(mutex_);
  std::vector<Mover> movers;
  for (auto& entry : ranking("")) {
    Mover mover{std::move(entry), 0, 0};
    for (const auto& point : state_.points.at(mover.entry.rating.name)) {
      if (point.match->at < since) break;
      mover.change += point.elo - point.elo_before;
      ++mover.matches;
    }
    if (mover.matches > 0) movers.push_back(std::move(mover));
  }
  std::stable_sort(movers.begin(), movers.end(),
                   [](const Mover& a, const Mover& b) { return std::abs(a.change) > std::abs(b.change); });
  if (static_cast<std::int64_t>(movers.size()) > limit) movers.resize(static_cast<std::size_t>(limit));
  return movers;
}

std::vector<std::shared_ptr<const Standings::Played>> Standings::recent(std::int64_t limit) {
  takeIn();
  const std::shared_lock lock(mutex_);
  const auto count = std::min<std::size_t>(static_cast<std::size_t>(limit), state_.recent.size());
  return {state_.recent.begin(), state_.recent.begin() + static_cast<std::ptrdiff_t>(count)};
}

std::vector<Standings::Domain> Standings::domains() {
  takeIn();
  const std::shared_lock lock(mutex_);
  std::vector<Domain> domains;
  for (const auto& [name, kept] : state_.domains)
    domains.push_back({name, static_cast<std::int64_t>(kept.table.ratings().size()), kept.matches});
  return domains;
}

}  // namespace aragora::store
