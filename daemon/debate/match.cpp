#include "daemon/debate/match.h"

#include "common/base/text.h"
#include "daemon/debate/seats.h"

namespace aragora::debate {

namespace {
struct FirstVote {
  std::int64_t round = INT64_MAX;
  std::vector<ratings::Ballot> ballots;
};

FirstVote firstVote(const std::vector<store::Event>& events) {
  FirstVote first;
  for (const auto& event : events) {
    const auto* vote = std::get_if<store::Vote>(&event.body);
    if (vote == nullptr || event.round > first.round) continue;
    if (event.round < first.round) first = {event.round, {}};
    first.ballots.push_back({event.agent, vote->choice});
  }
  return first;
}

// What each seat had proposed by then, without what makes no difference: who says the same is voted for together.
std::map<std::string, std::string> proposals(const std::vector<store::Event>& events, std::int64_t round) {
  std::map<std::string, std::string> texts;
  for (const auto& event : events) {
    const auto* message = std::get_if<store::AgentMessage>(&event.body);
    if (message != nullptr && event.round <= round) texts[event.agent] = join(split(lower(message->content), ' '), " ");
  }
  return texts;
}

// A vote for what one has said oneself is none, whoever else has said it.
std::vector<ratings::Ballot> ofPeers(std::vector<ratings::Ballot> ballots,
                                     const std::map<std::string, std::string>& texts) {
  std::erase_if(ballots, [&](const ratings::Ballot& ballot) {
    const auto own = texts.find(ballot.voter);
    const auto chosen = texts.find(ballot.choice);
    return own == texts.end() || chosen == texts.end() || own->second == chosen->second;
  });
  return ballots;
}

// Votes are for a text: all who said it have them, and of those who did not say it.
void shareVotes(std::vector<ratings::Seat>& seats, const std::map<std::string, std::string>& texts) {
  std::map<std::string, std::int64_t> votes;
  std::map<std::string, std::int64_t> authors;
  for (const auto& seat : seats) {
    votes[texts.at(seat.seat)] += seat.votes;
    ++authors[texts.at(seat.seat)];
  }
  for (auto& seat : seats) {
    seat.votes = votes[texts.at(seat.seat)];
    seat.voters = static_cast<std::int64_t>(seats.size()) - authors[texts.at(seat.seat)];
  }
}

bool differ(const std::vector<ratings::Seat>& seats) {
  std::set<std::string> names;
  for (const auto& seat : seats) names.insert(ratings::identityOf(seat));
  return names.size() > 1;
}

// Who wrote what stood there in that round.
const store::Call* author(const std::string& seat, std::int64_t round, const std::vector<store::Call>& calls) {
  const store::Call* last = nullptr;
  for (const auto& call : calls) {
    const bool writes = call.phase == store::Phase::Propose || call.phase == store::Phase::Revise;
    if (!writes || call.seat != seat || call.round > round || call.state != store::CallState::Done) continue;
    if (last == nullptr || call.round >= last->round) last = &call;
  }
  return last;
}
}  // namespace

std::optional<ratings::Match> matchOf(const store::Debate& debate, const std::vector<store::Event>& events,
                                      const std::vector<store::Call>& calls) {
  const auto vote = firstVote(events);
  if (vote.ballots.empty()) return std::nullopt;
  const auto texts = proposals(events, vote.round);
  std::vector<ratings::Seat> seats;
  std::set<std::string> said;
  for (const auto& seat : seatsOf(debate.agents)) {
    const auto* call = author(seat.name, vote.round, calls);
    if (call == nullptr || texts.count(seat.name) == 0) continue;
    seats.push_back({seat.name, seat.agent, call->provider, call->model, 0, 0});
    said.insert(texts.at(seat.name));
  }
  // All of them said the same: nobody is better.
  if (said.size() == 1 && differ(seats)) return ratings::Match{domainOf(debate), std::move(seats), {}};
  auto match = ratings::matchOf(domainOf(debate), std::move(seats), ofPeers(vote.ballots, texts));
  if (match) shareVotes(match->seats, texts);
  return match;
}

std::string domainOf(const store::Debate& debate) {
  const auto metadata = tryParseJson(debate.metadata).value_or(nullptr);
  if (!metadata.is_object()) return {};
  return ratings::readDomain(jsonTextOr(metadata.get_object(), "domain", "")).value_or("");
}

}  // namespace aragora::debate
