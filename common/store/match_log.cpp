#include "common/store/match_log.h"

#include <cmath>

#include "common/base/text.h"
#include "common/store/id_list.h"

namespace aragora::store {

using database::Values;
using ratings::Match;

namespace {
// «claude#2» sits for «claude».
std::string agentOf(std::string_view seat) { return std::string(seat.substr(0, seat.find('#'))); }

// An agent with several seats was as good as its best one.
void seat(Match& match, const std::string& agent, std::int64_t votes) {
  const auto known = std::find_if(match.seats.begin(), match.seats.end(),
                                  [&](const ratings::Seat& one) { return one.agent == agent; });
  if (known == match.seats.end())
    match.seats.push_back({agent, agent, {}, {}, votes});
  else
    known->votes = std::max(known->votes, votes);
}

std::optional<Match> inOrder(Match match) {
  std::sort(match.seats.begin(), match.seats.end(),
            [](const ratings::Seat& a, const ratings::Seat& b) { return a.agent < b.agent; });
  return match.seats.size() < 2 ? std::nullopt : std::optional(std::move(match));
}
}  // namespace

std::optional<Match> oldMatch(std::string_view participants, std::string_view scores) {
  const auto names = tryParseJson(participants).value_or(nullptr);
  const auto votes = tryParseJson(scores).value_or(nullptr);
  if (!names.is_array() || !votes.is_array() || names.get_array().size() != votes.get_array().size()) return {};
  Match match;
  for (std::size_t i = 0; i < names.get_array().size(); ++i) {
    const auto& name = names.get_array()[i];
    const auto& vote = votes.get_array()[i];
    if (!name.is_string() || !vote.is_number()) return std::nullopt;
    seat(match, agentOf(name.get_string()), std::llround(vote.to_number<double>()));
  }
  return inOrder(std::move(match));
}

std::optional<Match> oldMatch(const std::vector<ratings::Ballot>& ballots) {
  Match match;
  const auto add = [&](const std::string& name) {
    seat(match, agentOf(name), std::count_if(ballots.begin(), ballots.end(), [&](const ratings::Ballot& other) {
           return other.choice == name;
         }));
  };
  for (const auto& ballot : ballots) {
    add(ballot.voter);
    if (!ballot.choice.empty()) add(ballot.choice);
  }
  return inOrder(std::move(match));
}

MatchLog::MatchLog(database::Connection& connection)
    : MatchLog(connection.engine(),
               [&connection](std::string_view sql, const Values& values) { return connection.query(sql, values); }) {}

MatchLog::MatchLog(database::Database& database)
    : MatchLog(database.engine(),
               [&database](std::string_view sql, const Values& values) { return database.query(sql, values); }) {}

std::vector<LoggedMatch> MatchLog::next(Place& place) {
  // The number is in the text: a planner that does not know it may sort all there are.
  static const auto kSql = fmt::format(
      "SELECT participants, scores, created_at, id, debate_id, record FROM matches WHERE created_at >= $1 AND "
      "(created_at > $1 OR id > $2) ORDER BY created_at, id LIMIT {}",
      kBatch);
  std::vector<LoggedMatch> matches;
  std::vector<LoggedMatch> old;
  while (true) {
    const auto rows = ask_(kSql, Values{place.at, place.id});
    for (const auto& row : rows) {
      place = {row.integer(2), row.text(3)};
      const auto record = row.isNull(5) ? std::nullopt : tryParseJson(row.text(5));
      auto match = row.isNull(5)                   ? oldMatch(row.text(0), row.text(1))
                   : record && record->is_object() ? ratings::matchFrom(record->get_object())
                                                   : std::nullopt;
      if (!match) continue;
      matches.push_back({row.text(4), row.integer(2), std::move(*match)});
      if (row.isNull(5)) old.push_back(matches.back());
    }
    if (!matches.empty() || rows.size() < kBatch) break;
  }
  if (old.empty()) return matches;
  addModels(old);
  auto named = old.begin();
  for (auto& match : matches) {
    if (named != old.end() && named->debate_id == match.debate_id) match = std::move(*named++);
  }
  return matches;
}

void MatchLog::addModels(std::vector<LoggedMatch>& old) {
  std::vector<std::string> ids;
  ids.reserve(old.size());
  for (const auto& match : old) ids.push_back(match.debate_id);
  std::map<std::pair<std::string, std::string>, std::pair<std::string, std::string>> spoke;
  for (const auto& row :
       ask_(fmt::format("SELECT debate_id, agent, provider, model FROM agent_calls WHERE status = 'done' AND phase IN "
                        "('propose', 'revise') AND debate_id IN ({}) ORDER BY debate_id, round, attempt, agent",
                        listedIn(engine_, "$1")),
            {join(ids, ",")}))
    spoke[{row.text(0), agentOf(row.text(1))}] = {row.text(2), row.text(3)};
  for (auto& match : old) {
    for (auto& seat : match.match.seats) {
      const auto found = spoke.find({match.debate_id, seat.agent});
      if (found != spoke.end()) std::tie(seat.provider, seat.model) = found->second;
    }
  }
}

}  // namespace aragora::store
