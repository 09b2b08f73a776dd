#include "common/store/ratings.h"

#include <cmath>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/store/settings.h"

namespace aragora::store {

using database::Connection;

namespace {
constexpr std::int64_t kMatchLock = 0x61726167'6f726103;
}  // namespace

std::vector<double> eloAfter(const std::vector<double>& before, const std::vector<double>& scores, double k) {
  ARAGORA_CHECK(before.size() == scores.size() && before.size() >= 2);
  auto after = before;
  const double per_pair = k / static_cast<double>(before.size() - 1);
  for (std::size_t i = 0; i < before.size(); ++i) {
    for (std::size_t j = i + 1; j < before.size(); ++j) {
      const double expected = 1 / (1 + std::pow(10, (before[j] - before[i]) / 400));
      const double actual = scores[i] > scores[j] ? 1 : scores[i] < scores[j] ? 0 : 0.5;
      after[i] += per_pair * (actual - expected);
      after[j] -= per_pair * (actual - expected);
    }
  }
  return after;
}

namespace {
// Applies one match to `ratings`; the same code for the live update and for recomputing.
void applyMatch(std::map<std::string, Rating>& ratings, const std::vector<std::string>& agents,
                const std::vector<double>& scores, Micros at) {
  std::vector<double> before;
  for (const auto& agent : agents) {
    ratings[agent].agent = agent;
    before.push_back(ratings[agent].elo);
  }
  const auto after = eloAfter(before, scores);
  const double best = *std::max_element(scores.begin(), scores.end());
  const auto leaders = std::count(scores.begin(), scores.end(), best);
  for (std::size_t i = 0; i < agents.size(); ++i) {
    auto& rating = ratings[agents[i]];
    rating.elo = after[i];
    rating.matches += 1;
    rating.last_match_at = at;
    if (scores[i] == best && leaders == 1)
      rating.wins += 1;
    else if (scores[i] == best)
      rating.draws += 1;
    else
      rating.losses += 1;
  }
}

// Elo depends on the order of matches. SQLite has one writer.
void oneAtATime(Connection& connection) {
  if (connection.engine() == database::Engine::Postgres)
    connection.query("SELECT pg_advisory_xact_lock($1)", {kMatchLock});
}

// Goes on behind the last match that was counted. Each is recorded later than those before it (recordMatch), so that
// none appears behind our back; `ask` may see each batch in a transaction of its own.
template <typename Ask>
void countOn(CountedMatches& counted, const Ask& ask) {
  constexpr std::size_t kBatch = 1000;
  // The number is in the text: a planner that does not know it may sort all there are.
  static const auto kSql = fmt::format(
      "SELECT participants, scores, created_at, id, debate_id FROM matches WHERE created_at >= $1 AND (created_at > $1 "
      "OR id > $2) ORDER BY created_at, id LIMIT {}",
      kBatch);
  while (true) {
    const database::Rows rows = ask(kSql, database::Values{counted.last_at, counted.last_id});
    for (const auto& row : rows) {
      if (row.text(4) == counted.left_out) continue;
      std::vector<std::string> agents;
      std::vector<double> scores;
      const auto names = tryParseJson(row.text(0)).value_or(json::array{});
      const auto values = tryParseJson(row.text(1)).value_or(json::array{});
      for (const auto& value : names.as_array()) agents.emplace_back(value.as_string());
      for (const auto& value : values.as_array()) scores.push_back(value.to_number<double>());
      applyMatch(counted.ratings, agents, scores, row.integer(2));
    }
    if (rows.empty()) return;
    counted.last_at = rows.back().integer(2);
    counted.last_id = rows.back().text(3);
    if (rows.size() < kBatch) return;
  }
}

void countOn(Connection& connection, CountedMatches& counted) {
  countOn(counted, [&](std::string_view sql, const database::Values& values) { return connection.query(sql, values); });
}

json::array toArray(const std::vector<double>& values) {
  json::array result;
  for (const double value : values) result.emplace_back(value);
  return result;
}
}  // namespace

void Ratings::recordMatch(const std::string& debate_id, const std::vector<std::string>& agents,
                          const std::vector<double>& scores) {
  if (std::set<std::string>(agents.begin(), agents.end()).size() < 2) return;  // nobody to be compared with
  database_.write([&](Connection& connection) {
    // The debate before the lock, as whoever removes it does; of one that is gone there is no match.
    const std::string_view locking = connection.engine() == database::Engine::Postgres ? " FOR KEY SHARE" : "";
    if (connection.query(fmt::format("SELECT 1 FROM debates WHERE id = $1{}", locking), {debate_id}).empty()) return;
    oneAtATime(connection);
    // Each later than the one before, whatever the clocks say.
    const auto last = connection.query("SELECT coalesce(max(created_at), 0) FROM matches", {})[0].integer(0);
    const auto at = std::max(nowMicros(), last + 1);
    json::array names(agents.begin(), agents.end());
    const double best = *std::max_element(scores.begin(), scores.end());
    const auto winner = std::count(scores.begin(), scores.end(), best) == 1
                            ? database::Value{agents[static_cast<std::size_t>(
                                  std::max_element(scores.begin(), scores.end()) - scores.begin())]}
                            : database::Value{};
    const auto inserted = connection.query(
        "INSERT INTO matches (id, debate_id, winner, participants, scores, created_at) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (debate_id) DO NOTHING RETURNING id",
        {newUlid(), debate_id, winner, toJson(names), toJson(toArray(scores)), at});
    if (inserted.empty()) return;
    std::map<std::string, Rating> ratings;
    auto sorted = agents;
    std::sort(sorted.begin(), sorted.end());  // one order of locks for all
    for (const auto& agent : sorted) {
      connection.query(
          "INSERT INTO ratings (agent_name, updated_at) VALUES ($1, $2) ON CONFLICT (agent_name) DO UPDATE SET "
          "updated_at = excluded.updated_at",
          {agent, at});
      const auto row =
          connection.query("SELECT elo, wins, losses, draws, matches FROM ratings WHERE agent_name = $1", {agent})
              .at(0);
      ratings[agent] = {agent,          row.number(0),  row.integer(1), row.integer(2),
                        row.integer(3), row.integer(4), std::nullopt};
    }
    applyMatch(ratings, agents, scores, at);
    for (const auto& [agent, rating] : ratings) {
      connection.query(
          "UPDATE ratings SET elo = $2, wins = $3, losses = $4, draws = $5, matches = $6, last_match_at = $7, "
          "updated_at = $7 WHERE agent_name = $1",
          {agent, rating.elo, rating.wins, rating.losses, rating.draws, rating.matches, at});
    }
  });
}

std::vector<Rating> Ratings::leaderboard(std::int64_t limit, std::int64_t offset) {
  std::vector<Rating> result;
  for (const auto& row : database_.query("SELECT agent_name, elo, wins, losses, draws, matches, last_match_at FROM "
                                         "ratings ORDER BY elo DESC, agent_name LIMIT $1 OFFSET $2",
                                         {limit, offset})) {
    result.push_back({row.text(0), row.number(1), row.integer(2), row.integer(3), row.integer(4), row.integer(5),
                      row.optionalInteger(6)});
  }
  return result;
}

std::int64_t Ratings::count() { return database_.query("SELECT count(*) FROM ratings", {})[0].integer(0); }

std::map<std::string, Rating> Ratings::recompute() {
  return database_.reading([](Connection& connection) {
    CountedMatches counted;
    countOn(connection, counted);
    return std::move(counted.ratings);
  });
}

CountedMatches Ratings::without(const std::string& debate_id) {
  CountedMatches counted;
  counted.left_out = debate_id;
  counted.removed =
      database_.reading([](Connection& connection) { return readSetting(connection, kDebatesRemoved).value_or("0"); });
  if (database_.query("SELECT 1 FROM matches WHERE debate_id = $1", {debate_id}).empty()) return counted;
  countOn(counted,
          [this](std::string_view sql, const database::Values& values) { return database_.query(sql, values); });
  return counted;
}

bool Ratings::forgetMatch(Connection& connection, const std::string& debate_id, CountedMatches* without) {
  oneAtATime(connection);
  if (connection.query("SELECT 1 FROM matches WHERE debate_id = $1", {debate_id}).empty()) return true;
  if (without != nullptr && without->removed != readSetting(connection, kDebatesRemoved).value_or("0")) return false;
  CountedMatches here;
  here.left_out = debate_id;
  auto& counted = without != nullptr ? *without : here;
  countOn(connection, counted);
  connection.execute("DELETE FROM matches WHERE debate_id = $1", {debate_id});
  connection.execute("DELETE FROM ratings", {});
  const auto now = nowMicros();
  for (const auto& [agent, rating] : counted.ratings)
    connection.later(
        {"INSERT INTO ratings (agent_name, elo, wins, losses, draws, matches, last_match_at, updated_at) VALUES ($1, "
         "$2, $3, $4, $5, $6, $7, $8)",
         {agent, rating.elo, rating.wins, rating.losses, rating.draws, rating.matches, *rating.last_match_at, now}});
  return true;
}

}  // namespace aragora::store
