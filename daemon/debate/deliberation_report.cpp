// Who changed what and why, and whether the debate changed its outcome: derived from what was said alone.
#include "daemon/debate/deliberation.h"

namespace aragora::debate {

using store::Phase;

namespace {
json::value orNull(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(json::string(text));
}

json::array arrayOf(const std::vector<std::string>& texts) { return json::array(texts.begin(), texts.end()); }
}  // namespace

std::int64_t Deliberation::lastVote() const {
  for (std::int64_t round = setup_.rounds; round >= 0; --round) {
    if (!ballots(round).empty()) return round;
  }
  return -1;
}

// Of each vote, who gave orders and was no candidate for it; unless all did.
json::array Deliberation::excluded() const {
  json::array votes;
  for (std::int64_t round = 0; round <= lastVote(); ++round) {
    if (ballots(round).empty()) continue;
    std::set<std::string> authors;
    for (const auto& candidate : candidates(round)) {
      if (givesOrdersIn(candidate, round)) authors.insert(candidate.authors.begin(), candidate.authors.end());
    }
    if (authors.empty()) continue;
    votes.push_back(json::object{{"round", round},
                                 {"seats", json::array(authors.begin(), authors.end())},
                                 {"excluded", eligible(round).size() < candidates(round).size()}});
  }
  return votes;
}

json::object Deliberation::report(const std::string& stopped) const {
  const auto last = std::max<std::int64_t>(0, lastVote());
  const auto blind = tallyOf(0).leader;
  const auto leading = tallyOf(last);
  const auto standing = candidates(last);
  json::array positions;
  json::array flips;
  json::array vote_flips;
  json::array orders;
  std::set<std::string> cited;
  std::int64_t changes = 0;
  std::int64_t uncited = 0;
  std::int64_t conforming = 0;
  for (const auto& seat : setup_.seats) {
    const auto initial = proposalOf(seat.name, 0);
    const auto final = proposalOf(seat.name, setup_.rounds);
    json::array votes;
    std::string first_choice;
    std::string last_choice;
    std::int64_t last_voted = 0;
    for (std::int64_t round = 0; round <= setup_.rounds; ++round) {
      if (const auto vote = saidOnce<store::Vote>({Phase::Vote, round, seat.name})) {
        votes.push_back(json::object{{"round", round},
                                     {"kind", vote->kind},
                                     {"choice", orNull(vote->choice)},
                                     {"confidence", vote->confidence}});
        if (round == 0) first_choice = vote->choice;
        last_choice = vote->choice;
        last_voted = round;
      }
      const auto revision =
          round == 0 ? std::nullopt : saidOnce<store::AgentMessage>({Phase::Revise, round, seat.name});
      if (revision) cited.insert(revision->because.begin(), revision->because.end());
      if (revision && revision->decision != "keep") {
        const bool toward = becomes(blind, 0, revision->adopted, round - 1);
        ++changes;
        uncited += revision->uncited ? 1 : 0;
        conforming += revision->uncited && toward ? 1 : 0;
        flips.push_back(json::object{{"seat", seat.name},
                                     {"round", round},
                                     {"decision", revision->decision},
                                     {"adopted", orNull(revision->adopted)},
                                     {"because", arrayOf(revision->because)},
                                     {"cited", !revision->uncited},
                                     {"toward_the_first_majority", toward}});
      }
      const auto message = round == 0 ? initial : revision;
      if (message && message->gives_orders)
        orders.push_back(
            json::object{{"seat", seat.name}, {"round", round}, {"in", round == 0 ? "proposal" : "revision"}});
    }
    if (!first_choice.empty() && !last_choice.empty() && !becomes(first_choice, 0, last_choice, last_voted))
      vote_flips.push_back(json::object{{"seat", seat.name},
                                        {"from", first_choice},
                                        {"to", last_choice},
                                        {"toward_the_first_majority", becomes(blind, 0, last_choice, last_voted)}});
    positions.push_back(json::object{{"seat", seat.name},
                                     {"agent", seat.agent},
                                     {"initial", initial ? orNull(initial->position) : json::value(nullptr)},
                                     {"final", final ? orNull(final->position) : json::value(nullptr)},
                                     {"changed", initial && final && initial->content != final->content},
                                     {"votes", std::move(votes)}});
  }
  json::array minority;
  for (const auto& candidate : standing) {
    if (candidate.id == leading.leader) continue;
    const auto votes = leading.votes.find(candidate.id);
    minority.push_back(
        json::object{{"seats", json::array(candidate.authors.begin(), candidate.authors.end())},
                     {"votes", static_cast<std::int64_t>(votes == leading.votes.end() ? 0 : votes->second)},
                     {"text", textOf(candidate.id, last)}});
  }
  json::array unresolved;
  for (std::int64_t round = 1; round <= setup_.rounds; ++round) {
    for (const auto& [critic, critique] : critiques(round)) {
      if (critique.gives_orders) orders.push_back(json::object{{"seat", critic}, {"round", round}, {"in", "critique"}});
      if (critique.severity < 4 || cited.count(critique.id) > 0) continue;
      unresolved.push_back(json::object{{"id", critique.id},
                                        {"critic", critic},
                                        {"target", critique.target},
                                        {"claim", critique.weakness},
                                        {"severity", critique.severity}});
    }
  }
  json::object content{{"protocol", setup_.protocol},
                       {"rounds", static_cast<std::int64_t>(rounds_ended_.size())},
                       {"stopped", orNull(stopped)},
                       {"positions", std::move(positions)},
                       {"flips", std::move(flips)},
                       {"vote_flips", std::move(vote_flips)},
                       {"conformity", json::object{{"flips", changes},
                                                   {"uncited", uncited},
                                                   {"uncited_toward_the_first_majority", conforming},
                                                   {"index_percent", changes == 0 ? 0 : 100 * conforming / changes}}},
                       {"blind_winner", orNull(blind)},
                       {"leading", orNull(leading.leader)},
                       {"minority", std::move(minority)},
                       {"unresolved", std::move(unresolved)},
                       {"gives_orders", std::move(orders)},
                       {"dropped", json::array(dropped_.begin(), dropped_.end())}};
  if (setup_.exclude_orders) content["excluded"] = excluded();
  addSynthesis(content);
  return content;
}

// What the answer rests on, with the words, and what the others held, as its writer sees it.
void Deliberation::addSynthesis(json::object& content) const {
  for (const auto& [place, bodies] : events_) {
    const auto* synthesis = bodies.empty() ? nullptr : std::get_if<store::Synthesis>(&bodies[0]);
    if (synthesis == nullptr || (synthesis->from.empty() && synthesis->dissent.empty())) continue;
    json::array from;
    for (const auto& [id, claim] : claimsOf(winnerOf(place.round), place.round)) {
      if (std::find(synthesis->from.begin(), synthesis->from.end(), id) != synthesis->from.end())
        from.push_back(json::object{{"id", id}, {"claim", claim}});
    }
    content["synthesis"] = json::object{{"from", std::move(from)}, {"dissent", arrayOf(synthesis->dissent)}};
  }
}

}  // namespace aragora::debate
