#include "common/store/events.h"

#include <cmath>

namespace aragora::store {

namespace {
constexpr std::int64_t kVersion = 2;
// In the order of EventBody.
constexpr std::array<std::string_view, std::variant_size_v<EventBody> - 1> kNames = {
    "debate_created", "debate_start", "round_start", "agent_message", "critique",   "agent_error",
    "round_end",      "vote",         "synthesis",   "consensus",     "debate_end", "audience_message"};

json::array toArray(const std::vector<std::string>& texts) { return json::array(texts.begin(), texts.end()); }

std::vector<std::string> texts(const json::object& object, std::string_view key) {
  std::vector<std::string> result;
  if (const auto* array = jsonArray(object, key)) {
    for (const auto& element : *array) {
      if (element.is_string()) result.emplace_back(element.get_string());
    }
  }
  return result;
}

Role roleOf(const json::object& payload) {
  return jsonTextOr(payload, "role", "") == name(Role::Reviser) ? Role::Reviser : Role::Proposer;
}

// One writer a kind; the readers below take what these make.
struct Writer {
  json::object operator()(const DebateCreated& event) const {
    json::object payload{{"task", event.task},
                         {"agents", toArray(event.agents)},
                         {"rounds", event.rounds},
                         {"consensus", event.consensus},
                         {"seed", event.seed}};
    if (!event.request_id.empty()) payload["request_id"] = event.request_id;
    return payload;
  }
  json::object operator()(const DebateStarted& event) const {
    return {{"task", event.task}, {"seats", toArray(event.seats)}, {"rounds", event.rounds}};
  }
  json::object operator()(const RoundStarted& event) const { return {{"phase", name(event.phase)}}; }
  json::object operator()(const AgentMessage& event) const {
    return {{"role", name(event.role)}, {"content", event.content}};
  }
  json::object operator()(const Critique& event) const {
    return {{"target", event.target}, {"weakness", event.weakness}, {"severity", event.severity}};
  }
  json::object operator()(const AgentError& event) const {
    return {{"phase", name(event.phase)}, {"message", event.message}};
  }
  json::object operator()(const RoundEnded&) const { return {}; }
  json::object operator()(const Vote& event) const {
    return {{"choice", event.choice}, {"confidence", event.confidence}, {"reason", event.reason}};
  }
  json::object operator()(const Synthesis& event) const { return {{"content", event.content}}; }
  json::object operator()(const Consensus& event) const {
    json::array ballots;
    for (const auto& [seat, vote] : event.ballots) {
      auto ballot = (*this)(vote);
      ballot["seat"] = seat;
      ballots.push_back(std::move(ballot));
    }
    json::array dissent;
    for (const auto& [seat, text] : event.dissent) dissent.push_back(json::object{{"seat", seat}, {"text", text}});
    return {{"reached", event.reached},
            {"tied", event.tied},
            {"agreement", event.agreement},
            {"confidence", event.confidence},
            {"answer", event.answer},
            {"method", event.method},
            {"leader", event.leader},
            {"supporting", toArray(event.supporting)},
            {"dissenting", toArray(event.dissenting)},
            {"ballots", std::move(ballots)},
            {"dissent", std::move(dissent)}};
  }
  json::object operator()(const DebateEnded& event) const {
    return {{"status", name(event.status)}, {"outcome", event.outcome},
            {"reason", event.reason},       {"consensus_reached", event.consensus_reached},
            {"seconds", event.seconds},     {"rounds", event.rounds}};
  }
  json::object operator()(const AudienceMessage& event) const {
    return {{"author", event.author}, {"content", event.content}};
  }
  json::object operator()(const OtherEvent& event) const {
    return event.payload.is_object() ? event.payload.get_object() : json::object{};
  }
};

Vote readVote(const json::object& object) {
  return {jsonTextOr(object, "choice", ""), jsonIntegerOr(object, "confidence", 0), jsonTextOr(object, "reason", "")};
}

Consensus readConsensus(const json::object& object) {
  Consensus event{jsonFlagOr(object, "reached", false),
                  jsonFlagOr(object, "tied", false),
                  jsonNumberOr(object, "agreement", 0),
                  jsonNumberOr(object, "confidence", 0),
                  jsonTextOr(object, "answer", ""),
                  jsonTextOr(object, "method", ""),
                  jsonTextOr(object, "leader", ""),
                  texts(object, "supporting"),
                  texts(object, "dissenting"),
                  {},
                  {}};
  if (const auto* ballots = jsonArray(object, "ballots")) {
    for (const auto& element : *ballots) {
      if (const auto* ballot = element.if_object())
        event.ballots.push_back({jsonTextOr(*ballot, "seat", ""), readVote(*ballot)});
    }
  }
  if (const auto* dissent = jsonArray(object, "dissent")) {
    for (const auto& element : *dissent) {
      if (const auto* entry = element.if_object())
        event.dissent.push_back({jsonTextOr(*entry, "seat", ""), jsonTextOr(*entry, "text", "")});
    }
  }
  return event;
}

std::optional<EventBody> read(std::size_t kind, const json::object& object) {
  const auto phase = parsePhase(jsonTextOr(object, "phase", ""));
  const auto status = parseDebateStatus(jsonTextOr(object, "status", ""));
  switch (kind) {
    case 0:
      return DebateCreated{jsonTextOr(object, "task", ""),     texts(object, "agents"),
                           jsonIntegerOr(object, "rounds", 0), jsonTextOr(object, "consensus", ""),
                           jsonIntegerOr(object, "seed", 0),   jsonTextOr(object, "request_id", "")};
    case 1:
      return DebateStarted{jsonTextOr(object, "task", ""), texts(object, "seats"), jsonIntegerOr(object, "rounds", 0)};
    case 2:
      return phase ? std::optional<EventBody>(RoundStarted{*phase}) : std::nullopt;
    case 3:
      return AgentMessage{roleOf(object), jsonTextOr(object, "content", "")};
    case 4:
      return Critique{jsonTextOr(object, "target", ""), jsonTextOr(object, "weakness", ""),
                      jsonIntegerOr(object, "severity", 3)};
    case 5:
      return phase ? std::optional<EventBody>(AgentError{*phase, jsonTextOr(object, "message", "")}) : std::nullopt;
    case 6:
      return RoundEnded{};
    case 7:
      return readVote(object);
    case 8:
      return Synthesis{jsonTextOr(object, "content", "")};
    case 9:
      return readConsensus(object);
    case 11:
      return AudienceMessage{jsonTextOr(object, "author", ""), jsonTextOr(object, "content", "")};
    default:
      if (!status) return std::nullopt;
      return DebateEnded{*status,
                         jsonTextOr(object, "outcome", ""),
                         jsonTextOr(object, "reason", ""),
                         jsonFlagOr(object, "consensus_reached", false),
                         jsonNumberOr(object, "seconds", 0),
                         jsonIntegerOr(object, "rounds", 0)};
  }
}

// What the first version stored: the fields that clients saw then, under other names and several times over.
namespace first {
std::int64_t percent(const json::object& object) { return std::lround(jsonNumberOr(object, "confidence", 0) * 100); }

std::string choice(const json::object& object, std::string_view key) {
  const auto shown = jsonTextOr(object, key, "");
  return shown == "abstain" ? std::string() : shown;
}

Consensus readConsensus(const json::object& object) {
  static const json::object kNone;
  const auto* inner = jsonObject(object, "consensus");
  const auto& whole = inner != nullptr ? *inner : kNone;
  Consensus event{jsonFlagOr(object, "reached", false),
                  jsonFlagOr(whole, "tied", false),
                  jsonNumberOr(whole, "agreement", 0),
                  jsonNumberOr(object, "confidence", 0),
                  jsonTextOr(object, "answer", ""),
                  jsonTextOr(object, "method", ""),
                  jsonTextOr(whole, "leader", ""),
                  texts(whole, "supporting_agents"),
                  texts(whole, "dissenting_agents"),
                  {},
                  {}};
  if (const auto* votes = jsonArray(whole, "votes")) {
    for (const auto& element : *votes) {
      if (const auto* vote = element.if_object())
        event.ballots.push_back({jsonTextOr(*vote, "agent_id", ""),
                                 {choice(*vote, "position"), percent(*vote), jsonTextOr(*vote, "reasoning", "")}});
    }
  }
  if (const auto* dissent = jsonArray(object, "dissent")) {
    for (const auto& element : *dissent) {
      if (const auto* entry = element.if_object())
        event.dissent.push_back({jsonTextOr(*entry, "agent", ""), jsonTextOr(*entry, "text", "")});
    }
  }
  return event;
}

std::optional<EventBody> read(std::size_t kind, const json::object& object) {
  switch (kind) {
    case 0:
      return DebateCreated{jsonTextOr(object, "task", ""), texts(object, "agents"),
                           jsonIntegerOr(object, "total_rounds", 0), jsonTextOr(object, "consensus", ""),
                           jsonIntegerOr(object, "seed", 0)};
    case 1:
      return DebateStarted{jsonTextOr(object, "task", ""), texts(object, "agents"), jsonIntegerOr(object, "rounds", 0)};
    case 4:
      return Critique{jsonTextOr(object, "target", ""), jsonTextOr(object, "critique", ""),
                      jsonIntegerOr(object, "severity_score", 3)};
    case 7:
      return Vote{jsonFlagOr(object, "valid", true) ? jsonTextOr(object, "choice", "") : std::string(), percent(object),
                  jsonTextOr(object, "reasoning", "")};
    case 9:
      return readConsensus(object);
    case 10: {
      auto renamed = object;
      renamed["seconds"] = jsonNumberOr(object, "duration_seconds", 0);
      return store::read(kind, renamed);
    }
    default:
      return store::read(kind, object);  // the names are the same
  }
}
}  // namespace first
}  // namespace

std::string_view name(Role role) { return role == Role::Proposer ? "proposer" : "reviser"; }

std::string_view typeOf(const EventBody& body) {
  if (const auto* other = std::get_if<OtherEvent>(&body)) return other->type;
  return kNames.at(body.index());
}

std::string_view Event::type() const { return typeOf(body); }

json::object toPayload(const EventBody& body) {
  auto payload = std::visit(Writer{}, body);
  if (!std::holds_alternative<OtherEvent>(body)) payload["v"] = kVersion;
  return payload;
}

double fraction(std::int64_t percent) { return static_cast<double>(percent) / 100.0; }

std::string shown(const Vote& vote) { return vote.choice.empty() ? std::string("abstain") : vote.choice; }

json::object toSummary(const Consensus& consensus) {
  json::array votes;
  for (const auto& [seat, vote] : consensus.ballots) {
    votes.push_back(json::object{{"agent_id", seat},
                                 {"position", shown(vote)},
                                 {"confidence", fraction(vote.confidence)},
                                 {"reasoning", vote.reason}});
  }
  return {{"reached", consensus.reached},
          {"agreement", consensus.agreement},
          {"confidence", consensus.confidence},
          {"final_answer", consensus.answer},
          {"conclusion", consensus.answer},
          {"supporting_agents", toArray(consensus.supporting)},
          {"dissenting_agents", toArray(consensus.dissenting)},
          {"votes", std::move(votes)},
          {"method", consensus.method},
          {"tied", consensus.tied},
          {"leader", consensus.leader}};
}

EventBody fromPayload(std::string_view type, std::string_view payload) {
  auto value = tryParseJson(payload).value_or(nullptr);
  const auto kind = static_cast<std::size_t>(std::find(kNames.begin(), kNames.end(), type) - kNames.begin());
  if (kind < kNames.size() && value.is_object()) {
    const auto& object = value.get_object();
    const auto version = jsonIntegerOr(object, "v", 1);
    auto body = version == 1 ? first::read(kind, object) : version == kVersion ? read(kind, object) : std::nullopt;
    if (body) return std::move(*body);
  }
  return OtherEvent{std::string(type), std::move(value)};
}

}  // namespace aragora::store
