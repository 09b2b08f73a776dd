#include "common/store/rating_repair.h"

#include <cmath>

#include "common/base/ids.h"
#include "common/store/events.h"
#include "common/store/settings.h"

namespace aragora::store {

using database::Connection;
using database::Value;

namespace {
// A row of the log as it should be.
struct Expected {
  Value record;  // absent: of before there were records
  ratings::Match match;
  Micros at = 0;
  bool seen = false;
};
using Log = std::map<std::string, Expected>;

json::array namesOf(const ratings::Match& match) {
  json::array names;
  for (const auto& seat : match.seats) names.emplace_back(ratings::identityOf(seat));
  return names;
}

json::array votesOf(const ratings::Match& match) {
  json::array votes;
  for (const auto& seat : match.seats) votes.emplace_back(seat.votes);
  return votes;
}

// A row of kEvents.
void take(Log& log, const database::Row& row) {
  const auto& debate_id = row.text(0);
  const auto at = row.integer(2);
  const bool first_rules = row.integer(5) == 1;  // those of before there were records
  const auto body = fromPayload(row.text(1), row.text(3));
  if (const auto* recorded = std::get_if<MatchRecorded>(&body)) {
    log[debate_id] = {toJson(ratings::toJsonObject(recorded->match)), recorded->match, at};
  } else if (const auto* consensus = std::get_if<Consensus>(&body);
             first_rules && consensus != nullptr && consensus->reached) {
    std::vector<ratings::Ballot> ballots;
    for (const auto& ballot : consensus->ballots) ballots.push_back({ballot.seat, ballot.vote.choice});
    if (auto match = oldMatch(ballots)) log[debate_id] = {{}, std::move(*match), at};
  }
}

constexpr std::string_view kEvents =
    "SELECT e.debate_id, e.type, e.at, e.payload, e.seq, d.protocol FROM debate_events e JOIN debates d ON d.id = "
    "e.debate_id WHERE e.type IN ('consensus', 'match_recorded')";

// In the order of each chain: what was recorded stands behind what was agreed.
Log logOf(database::Database& database) {
  constexpr std::int64_t kBatch = 2000;
  Log log;
  std::string last;
  std::int64_t seq = 0;
  while (true) {
    const auto rows = database.query(
        fmt::format("{} AND (e.debate_id, e.seq) > ($1, $2) ORDER BY e.debate_id, e.seq LIMIT $3", kEvents),
        {last, seq, kBatch});
    for (const auto& row : rows) take(log, row);
    if (rows.size() < static_cast<std::size_t>(kBatch)) return log;
    last = rows.back().text(0);
    seq = rows.back().integer(4);
  }
}

void addOne(Connection& connection, Log& log, const std::string& debate_id) {
  for (const auto& row : connection.query(fmt::format("{} AND e.debate_id = $1 ORDER BY e.seq", kEvents), {debate_id}))
    take(log, row);
}

// Votes by agent, of those who had any: who had none may have been left out of an old one.
std::map<std::string, std::int64_t> votedFor(const std::optional<ratings::Match>& match) {
  std::map<std::string, std::int64_t> votes;
  if (!match) return {{"", -1}};
  for (const auto& seat : match->seats) {
    if (seat.votes > 0) votes[seat.agent] = seat.votes;
  }
  return votes;
}

bool holds(const database::Row& row, const Expected& expected) {
  if (std::holds_alternative<std::monostate>(expected.record))
    return row.isNull(4) && votedFor(oldMatch(row.text(1), row.text(2))) == votedFor(expected.match);
  const auto record = tryParseJson(row.text(4)).value_or(nullptr);
  const auto match = record.is_object() ? ratings::matchFrom(record.get_object()) : std::nullopt;
  return match && Value{toJson(ratings::toJsonObject(*match))} == expected.record && row.integer(3) == expected.at;
}

class Repairing {
 public:
  Repairing(Connection& connection, Log log, bool mend) : connection_(connection), log_(std::move(log)), mend_(mend) {}

  RatingRepair run() {
    lookAtMatches();
    addMissing();
    repair_.matches = static_cast<std::int64_t>(log_.size());
    lookAtRatings();
    return std::move(repair_);
  }

 private:
  void lookAtMatches() {
    constexpr std::int64_t kBatch = 2000;
    std::string last;
    while (true) {
      const auto rows = connection_.query(
          "SELECT debate_id, participants, scores, created_at, record FROM matches WHERE debate_id > $1 ORDER BY "
          "debate_id LIMIT $2",
          {last, kBatch});
      for (const auto& row : rows) lookAt(row);
      if (rows.size() < static_cast<std::size_t>(kBatch)) return;
      last = rows.back().text(0);
    }
  }

  void lookAt(const database::Row& row) {
    const auto& id = row.text(0);
    if (log_.count(id) == 0) addOne(connection_, log_, id);  // it ended since its events were read, or tells of none
    const auto expected = log_.find(id);
    if (expected == log_.end()) {
      repair_.removed.push_back(id);
      if (mend_) connection_.execute("DELETE FROM matches WHERE debate_id = $1", {id});
      return;
    }
    expected->second.seen = true;
    if (holds(row, expected->second)) return;
    repair_.changed.push_back(id);
    if (mend_) write(id, expected->second);
  }

  // Of a debate that was deleted since its events were read there is none to be missed.
  void addMissing() {
    for (auto entry = log_.begin(); entry != log_.end();) {
      const auto& [id, expected] = *entry;
      if (!expected.seen && connection_.query("SELECT 1 FROM debates WHERE id = $1", {id}).empty()) {
        entry = log_.erase(entry);
        continue;
      }
      if (!expected.seen) {
        repair_.restored.push_back(id);
        if (mend_) write(id, expected);
      }
      ++entry;
    }
  }

  void write(const std::string& id, const Expected& expected) {
    std::int64_t most = 0;
    for (const auto& seat : expected.match.seats) most = std::max(most, seat.votes);
    const auto leads = [&](const ratings::Seat& seat) { return seat.votes == most; };
    const auto& seats = expected.match.seats;
    const auto winner = std::count_if(seats.begin(), seats.end(), leads) == 1
                            ? Value{ratings::identityOf(*std::find_if(seats.begin(), seats.end(), leads))}
                            : Value{};
    connection_.query(
        "INSERT INTO matches (id, debate_id, winner, participants, scores, created_at, record) VALUES ($1, $2, $3, $4, "
        "$5, $6, $7) ON CONFLICT (debate_id) DO UPDATE SET winner = excluded.winner, participants = "
        "excluded.participants, scores = excluded.scores, created_at = excluded.created_at, record = excluded.record",
        {newUlid(), id, winner, toJson(namesOf(expected.match)), toJson(votesOf(expected.match)), expected.at,
         expected.record});
  }

  void lookAtRatings() {
    const auto stored = Ratings::stored(connection_);
    // Of what the log is now: where nothing is mended, of the log as it is.
    const auto counted = Ratings::recount(connection_);
    std::set<std::string> names;
    for (const auto& [name, rating] : stored) names.insert(name);
    for (const auto& [name, rating] : counted.ratings()) names.insert(name);
    for (const auto& name : names) {
      const auto before = stored.find(name);
      const auto after = counted.ratings().find(name);
      const bool same =
          before != stored.end() && after != counted.ratings().end() && Ratings::same(before->second, after->second);
      if (!same)
        repair_.ratings.push_back({name, before == stored.end() ? std::nullopt : std::optional(before->second.elo),
                                   after == counted.ratings().end() ? std::nullopt : std::optional(after->second.elo)});
    }
    if (mend_) Ratings::replace(connection_, counted);
  }

  Connection& connection_;
  Log log_;
  bool mend_;
  RatingRepair repair_;
};
}  // namespace

RatingRepair inspectRatings(database::Database& database) {
  auto log = logOf(database);
  return database.reading([&](Connection& connection) { return Repairing(connection, log, false).run(); });
}

RatingRepair repairRatings(database::Database& database,
                           const std::function<void(Connection&, const RatingRepair&)>& with) {
  auto log = logOf(database);
  return database.writing([&](Connection& connection) {
    Ratings::nextPlace(connection);  // nobody records one meanwhile
    auto repair = Repairing(connection, log, true).run();
    if (!repair.sound()) {
      countUp(connection, kDebatesRemoved);  // what daemons have taken in is over
      with(connection, repair);
    }
    return repair;
  });
}

}  // namespace aragora::store
