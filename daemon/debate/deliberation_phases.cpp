// What is asked of a seat in each phase.
#include "common/crypto/hash.h"
#include "daemon/debate/deliberation.h"
#include "daemon/debate/isolation.h"
#include "daemon/debate/prompts.h"

namespace aragora::debate {

using store::Phase;

namespace {
constexpr std::size_t kWhole = 1024 * 1024;
constexpr std::size_t kShort = 4 * 1024;
}  // namespace

// The boundary is of the debate's seed and the place: nobody who takes part knows the seed, and a replay finds the
// same.
Inquiry Deliberation::inquiryOf(const Place& place, json::object material, const std::vector<std::string>& labels,
                                const std::vector<std::string>& critiques) const {
  const auto boundary = "data-" + crypto::sha256Hex(fmt::format("boundary|{}|{}|{}|{}", setup_.seed,
                                                                store::name(place.phase), place.round, place.seat))
                                      .substr(0, 16);
  if (place.phase == Phase::Propose || contextForAll()) {
    if (!setup_.context.empty()) material["context"] = asData(setup_.context, kWhole);
    json::array documents;
    for (const auto& document : setup_.documents) documents.emplace_back(asData(document, kWhole));
    if (!documents.empty()) material["documents"] = std::move(documents);
  }
  if (const auto role = roleOf(place.seat); !role.empty()) material["role"] = asData(role, kShort);
  return {place, agentOf(place.seat), enclosed(boundary, std::move(material)),
          instructions(place.phase, setup_.protocol, boundary),
          shapeOf(place.phase, setup_.protocol, labels, critiques)};
}

// What everybody is told in that round: of what the audience says only what was there when it began, so that all seats
// are told the same.
json::object Deliberation::material(std::int64_t round) const {
  json::object material{{"task", asData(setup_.task, kWhole)}};
  const auto heard = rounds_started_.find(round);
  if (heard == rounds_started_.end() || heard->second == 0) return material;
  json::array audience;
  for (std::size_t i = 0; i < heard->second; ++i) audience.emplace_back(asData(audience_[i]));
  material["audience"] = std::move(audience);
  return material;
}

json::array Deliberation::shown(const Labels& labels, std::int64_t round) const {
  json::array proposals;
  for (const auto& [label, candidate] : labels)
    proposals.push_back(json::object{{"id", label}, {"text", asData(textOf(candidate, round))}});
  return proposals;
}

Deliberation::Stage Deliberation::proposing(const Seats& seats) const {
  return {Phase::Propose, 0, seats, [this](const Place& place) { return inquiryOf(place, this->material(0), {}); }};
}

Deliberation::Stage Deliberation::critiquing(std::int64_t round, const Seats& seats) const {
  return {Phase::Critique, round, seats, [this](const Place& place) {
            const auto labels = targets(place.round, place.seat);
            auto material = this->material(place.round);
            material["proposals"] = shown(labels, place.round - 1);
            return inquiryOf(place, std::move(material), names(labels));
          }};
}

// With its critiques, the proposals that it has read closely, and neither votes nor anybody's confidence.
Deliberation::Stage Deliberation::revising(std::int64_t in_round, const Seats& seats) const {
  Seats with_proposals;
  for (const auto& seat : seats) {
    if (proposalOf(seat, in_round - 1)) with_proposals.push_back(seat);
  }
  return {Phase::Revise, in_round, std::move(with_proposals), [this](const Place& place) {
            const auto round = place.round;
            const auto labels = targets(round, place.seat);
            const auto cited = critiqueLabels(round, place.seat);
            json::array received;
            const auto all = critiques(round);
            for (const auto& [label, id] : cited) {
              for (const auto& entry : all) {
                const auto& critique = entry.second;
                if (critique.id == id)
                  received.push_back(json::object{{"id", label},
                                                  {"weakness", asData(critique.weakness, kShort)},
                                                  {"severity", critique.severity},
                                                  {"strength", asData(critique.strength, kShort)}});
              }
            }
            auto material = this->material(round);
            material["own_proposal"] = asData(textOf(place.seat, round - 1));
            material["critiques"] = std::move(received);
            material["proposals"] = shown(labels, round - 1);
            return inquiryOf(place, std::move(material), names(labels), names(cited));
          }};
}

Deliberation::Stage Deliberation::choosing(Phase phase, std::int64_t round, const Seats& seats) const {
  return {phase, round, seats, [this, phase](const Place& place) {
            const auto labels = choices(place);
            json::object material{{"task", asData(setup_.task, kWhole)}};
            material["proposals"] = shown(labels, place.round);
            if (place.phase != phase) {  // once more
              const auto first = answers_.find({phase, place.round, place.seat});
              const auto text = first == answers_.end() ? std::string() : first->second.text;
              material["your_answer"] = asData(text, kShort);
              material["problem"] = ballotIn(place, text).invalid;
            }
            return inquiryOf(place, std::move(material), names(labels));
          }};
}

Deliberation::Stage Deliberation::synthesizing(std::int64_t round, const std::string& seat,
                                               const std::string& leader) const {
  return {Phase::Synthesize, round, {seat}, [this, leader](const Place& place) {
            json::object material{{"task", asData(setup_.task, kWhole)},
                                  {"winning_proposal", asData(textOf(leader, place.round))}};
            json::array claims;
            for (const auto& [id, claim] : claimsOf(leader, place.round))
              claims.push_back(json::object{{"id", id}, {"text", asData(claim, kShort)}});
            material["claims"] = std::move(claims);
            json::array dissent;
            Seats others;
            for (const auto& candidate : eligible(place.round)) {
              if (candidate.id != leader) others.push_back(candidate.id);
            }
            material["dissent"] =
                shown(labelled(std::move(others), fmt::format("synthesis|{}", place.round)), place.round);
            json::array risks;
            for (std::int64_t earlier = 1; earlier <= place.round; ++earlier) {
              for (const auto& entry : critiques(earlier)) {
                if (entry.second.target == leader) risks.emplace_back(asData(entry.second.weakness, kShort));
              }
            }
            material["critiques"] = std::move(risks);
            return inquiryOf(place, std::move(material), {});
          }};
}

}  // namespace aragora::debate
