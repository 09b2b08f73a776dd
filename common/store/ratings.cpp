#include "common/store/ratings.h"

#include <cmath>

#include "common/base/ids.h"
#include "common/store/settings.h"

namespace aragora::store {

using database::Connection;
using ratings::Match;
using ratings::Rating;
using ratings::Table;

namespace {
constexpr std::int64_t kMatchLock = 0x61726167'6f726103;
constexpr std::string_view kColumns =
    "agent_name, elo, glicko_rating, glicko_deviation, glicko_volatility, wins, losses, draws, matches, last_match_at";

// Ratings depend on the order of matches. SQLite has one writer.
void oneAtATime(Connection& connection) {
  if (connection.engine() == database::Engine::Postgres)
    connection.query("SELECT pg_advisory_xact_lock($1)", {kMatchLock});
}

Rating toRating(const database::Row& row) {
  Rating rating;
  rating.name = row.text(0);
  rating.elo = row.number(1);
  rating.glicko = {row.number(2), row.number(3), row.number(4)};
  rating.wins = row.integer(5);
  rating.losses = row.integer(6);
  rating.draws = row.integer(7);
  rating.matches = row.integer(8);
  rating.last_match_at = row.optionalInteger(9);
  return rating;
}

database::Value orNull(std::optional<Micros> at) { return at ? database::Value{*at} : database::Value{}; }

void write(Connection& connection, const Rating& rating, Micros now) {
  connection.later(
      {"INSERT INTO ratings (agent_name, elo, glicko_rating, glicko_deviation, glicko_volatility, wins, losses, draws, "
       "matches, last_match_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT "
       "(agent_name) DO UPDATE SET elo = excluded.elo, glicko_rating = excluded.glicko_rating, glicko_deviation = "
       "excluded.glicko_deviation, glicko_volatility = excluded.glicko_volatility, wins = excluded.wins, losses = "
       "excluded.losses, draws = excluded.draws, matches = excluded.matches, last_match_at = excluded.last_match_at, "
       "updated_at = excluded.updated_at",
       {rating.name, rating.elo, rating.glicko.rating, rating.glicko.deviation, rating.glicko.volatility, rating.wins,
        rating.losses, rating.draws, rating.matches, orNull(rating.last_match_at), now}});
}

void replaceAll(Connection& connection, const Table& table) {
  connection.execute("DELETE FROM ratings", {});
  const auto now = nowMicros();
  for (const auto& [name, rating] : table.ratings()) write(connection, rating, now);
}

void countOn(MatchLog log, CountedMatches& counted) {
  while (true) {
    const auto matches = log.next(counted.place);
    if (matches.empty()) return;
    for (const auto& match : matches) {
      if (match.debate_id != counted.left_out) counted.table.count(match.match, match.at);
    }
  }
}

std::string removedSoFar(Connection& connection) { return readSetting(connection, kDebatesRemoved).value_or("0"); }

// What a version without records reads: each once, with the votes of its best seat.
struct Standings {
  json::array names;
  json::array votes;
  database::Value winner;
};
Standings standingsOf(const std::vector<ratings::Change>& changes) {
  Standings standings;
  for (const auto& change : changes) {
    standings.names.emplace_back(change.name);
    standings.votes.emplace_back(change.votes);
    if (change.result == ratings::Result::Won) standings.winner = change.name;
  }
  return standings;
}
}  // namespace

Micros Ratings::nextPlace(Connection& connection) {
  oneAtATime(connection);
  const auto last = connection.query("SELECT coalesce(max(created_at), 0) FROM matches", {})[0].integer(0);
  return std::max(nowMicros(), last + 1);
}

void Ratings::record(Connection& connection, const std::string& debate_id, const Match& match, Micros at) {
  if (!connection.query("SELECT 1 FROM matches WHERE debate_id = $1", {debate_id}).empty()) return;
  Table table;
  for (const auto& seat : match.seats) {
    const auto rows = connection.query(fmt::format("SELECT {} FROM ratings WHERE agent_name = $1", kColumns),
                                       {ratings::identityOf(seat)});
    if (!rows.empty()) table.put(toRating(rows[0]));
  }
  const auto standings = standingsOf(table.count(match, at));
  connection.query(
      "INSERT INTO matches (id, debate_id, winner, participants, scores, created_at, record) VALUES ($1, $2, $3, $4, "
      "$5, $6, $7)",
      {newUlid(), debate_id, standings.winner, toJson(standings.names), toJson(standings.votes), at,
       toJson(ratings::toJsonObject(match))});
  for (const auto& [name, rating] : table.ratings()) write(connection, rating, at);
}

CountedMatches Ratings::without(database::Database& database, const std::string& debate_id) {
  CountedMatches counted;
  counted.left_out = debate_id;
  counted.removed = database.reading(removedSoFar);
  if (!database.query("SELECT 1 FROM matches WHERE debate_id = $1", {debate_id}).empty())
    countOn(MatchLog(database), counted);
  return counted;
}

bool Ratings::forgetMatch(Connection& connection, const std::string& debate_id, CountedMatches* without) {
  oneAtATime(connection);
  if (connection.query("SELECT 1 FROM matches WHERE debate_id = $1", {debate_id}).empty()) return true;
  if (without != nullptr && without->removed != removedSoFar(connection)) return false;
  CountedMatches here;
  here.left_out = debate_id;
  auto& counted = without != nullptr ? *without : here;
  countOn(MatchLog(connection), counted);
  connection.execute("DELETE FROM matches WHERE debate_id = $1", {debate_id});
  replaceAll(connection, counted.table);
  return true;
}

std::map<std::string, Rating> Ratings::stored(Connection& connection) {
  std::map<std::string, Rating> ratings;
  for (const auto& row : connection.query(fmt::format("SELECT {} FROM ratings", kColumns), {}))
    ratings[row.text(0)] = toRating(row);
  return ratings;
}

Table Ratings::recount(Connection& connection) {
  CountedMatches counted;
  countOn(MatchLog(connection), counted);
  return std::move(counted.table);
}

bool Ratings::current(Connection& connection) { return readSetting(connection, kRatingRules) == kCurrentRules; }

void Ratings::store(database::Database& database) {
  CountedMatches before;
  before.removed = database.reading(removedSoFar);
  countOn(MatchLog(database), before);
  database.write([&](Connection& connection) {
    oneAtATime(connection);
    auto counted = before.removed == removedSoFar(connection) ? before : CountedMatches();
    countOn(MatchLog(connection), counted);
    replace(connection, counted.table);
  });
}

void Ratings::replace(Connection& connection, const Table& table) {
  replaceAll(connection, table);
  connection.query(
      "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET value = "
      "excluded.value, updated_at = excluded.updated_at",
      {std::string(kRatingRules), std::string(kCurrentRules), nowMicros()});
}

bool Ratings::same(const Rating& one, const Rating& other) {
  const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-6; };
  return near(one.elo, other.elo) && near(one.glicko.rating, other.glicko.rating) &&
         near(one.glicko.deviation, other.glicko.deviation) && near(one.glicko.volatility, other.glicko.volatility) &&
         std::tie(one.wins, one.losses, one.draws, one.matches, one.last_match_at) ==
             std::tie(other.wins, other.losses, other.draws, other.matches, other.last_match_at);
}

bool bringRatingsUpToDate(database::Database& database) {
  if (database.reading(Ratings::current)) return false;
  Ratings::store(database);
  return true;
}

}  // namespace aragora::store
