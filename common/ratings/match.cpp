#include "common/ratings/match.h"

#include <algorithm>
#include <set>

#include "common/base/text.h"

namespace aragora::ratings {

namespace {
constexpr std::size_t kLongestDomain = 48;

bool hasModels(const std::string& provider) {
  return !provider.empty() && provider != "demo" && provider != "sim" && provider != "none";
}
}  // namespace

std::string identityOf(const std::string& agent, const std::string& provider, const std::string& model) {
  return hasModels(provider) && !model.empty() ? provider + ":" + replaceAll(model, "/", ":") : agent;
}

double pointsOf(const Seat& seat) {
  const auto votes = static_cast<double>(seat.votes);
  return seat.voters > 0 ? votes / static_cast<double>(seat.voters) : votes;
}

std::string identityOf(const Seat& seat) { return identityOf(seat.agent, seat.provider, seat.model); }

std::optional<Match> matchOf(std::string domain, std::vector<Seat> seats, const std::vector<Ballot>& ballots) {
  Match match{std::move(domain), std::move(seats), {}};
  std::set<std::string> identities;
  for (auto& seat : match.seats) {
    seat.votes = 0;
    identities.insert(identityOf(seat));
  }
  if (identities.size() < 2) return std::nullopt;
  std::set<std::string> voted;
  const auto seatOf = [&](const std::string& name) {
    return std::find_if(match.seats.begin(), match.seats.end(), [&](const Seat& seat) { return seat.seat == name; });
  };
  for (const auto& ballot : ballots) {
    const auto chosen = seatOf(ballot.choice);
    if (chosen == match.seats.end() || ballot.choice == ballot.voter || seatOf(ballot.voter) == match.seats.end())
      continue;
    if (!voted.insert(ballot.voter).second) continue;
    ++chosen->votes;
    match.ballots.push_back(ballot);
  }
  if (match.ballots.empty()) return std::nullopt;
  return match;
}

std::vector<Game> gamesOf(const Match& match) {
  std::vector<std::string> identities;
  std::vector<double> points;
  for (const auto& seat : match.seats) {
    identities.push_back(identityOf(seat));
    points.push_back(pointsOf(seat));
  }
  auto games = gamesOf(points);
  std::erase_if(games, [&](const Game& game) { return identities[game.one] == identities[game.other]; });
  return games;
}

json::object toJsonObject(const Match& match) {
  json::array seats;
  for (const auto& seat : match.seats)
    seats.push_back(json::object{{"seat", seat.seat},
                                 {"agent", seat.agent},
                                 {"provider", seat.provider},
                                 {"model", seat.model},
                                 {"votes", seat.votes},
                                 {"voters", seat.voters}});
  json::array ballots;
  for (const auto& ballot : match.ballots)
    ballots.push_back(json::object{{"voter", ballot.voter}, {"choice", ballot.choice}});
  return {{"domain", match.domain}, {"seats", std::move(seats)}, {"ballots", std::move(ballots)}};
}

std::optional<Match> matchFrom(const json::object& object) {
  Match match{jsonTextOr(object, "domain", ""), {}, {}};
  const auto* seats = jsonArray(object, "seats");
  if (seats == nullptr) return std::nullopt;
  for (const auto& element : *seats) {
    const auto* seat = element.if_object();
    if (seat == nullptr) return std::nullopt;
    match.seats.push_back({jsonTextOr(*seat, "seat", ""), jsonTextOr(*seat, "agent", ""),
                           jsonTextOr(*seat, "provider", ""), jsonTextOr(*seat, "model", ""),
                           jsonIntegerOr(*seat, "votes", 0), jsonIntegerOr(*seat, "voters", 0)});
  }
  if (const auto* ballots = jsonArray(object, "ballots")) {
    for (const auto& element : *ballots) {
      if (const auto* ballot = element.if_object())
        match.ballots.push_back({jsonTextOr(*ballot, "voter", ""), jsonTextOr(*ballot, "choice", "")});
    }
  }
  if (match.seats.size() < 2) return std::nullopt;
  return match;
}

std::optional<std::string> readDomain(std::string_view text) {
  std::string domain(trim(text));
  if (domain.empty()) return domain;
  if (domain.size() > kLongestDomain) return std::nullopt;
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  for (char& c : domain) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!plain(c) && c != '-' && c != '_' && c != '.') return std::nullopt;
  }
  return plain(domain.front()) ? std::optional(std::move(domain)) : std::nullopt;
}

}  // namespace aragora::ratings
