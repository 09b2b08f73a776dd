#include "daemon/debate/match.h"

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
  std::vector<ratings::Seat> seats;
  for (const auto& seat : seatsOf(debate.agents)) {
    const auto* call = author(seat.name, vote.round, calls);
    if (call != nullptr) seats.push_back({seat.name, seat.agent, call->provider, call->model, 0});
  }
  return ratings::matchOf(domainOf(debate), std::move(seats), vote.ballots);
}

std::string domainOf(const store::Debate& debate) {
  const auto metadata = tryParseJson(debate.metadata).value_or(nullptr);
  if (!metadata.is_object()) return {};
  return ratings::readDomain(jsonTextOr(metadata.get_object(), "domain", "")).value_or("");
}

}  // namespace aragora::debate
