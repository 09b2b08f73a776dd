#include "common/store/events.h"

#include <cmath>

namespace aragora::store {

namespace {
constexpr std::int64_t kVersion = 2;
// In the order of EventBody.
constexpr std::array<std::string_view, std::variant_size_v<EventBody> - 1> kNames = {
    "debate_created", "debate_start",     "round_start",    "agent_message", "critique",
    "agent_error",    "round_end",        "vote",           "synthesis",     "consensus",
    "debate_end",     "audience_message", "match_recorded", "judge_verdict", "phase_timeout",
    "seat_dropped",   "debate_paused",    "debate_resumed", "debate_report"};

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

void addText(json::object& payload, std::string_view key, const std::string& text) {
  if (!text.empty()) payload[key] = text;
}

// As an id, which every version shows in a receipt: whichever instance ends the debate signs the same.
void addConfig(json::object& payload, const std::string& hash) {
  if (!hash.empty()) payload["config"] = json::object{{"id", hash}};
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
    if (event.protocol != 1) payload["protocol"] = event.protocol;
    if (!event.options.empty()) payload["options"] = event.options;
    addConfig(payload, event.config_hash);
    return payload;
  }
  json::object operator()(const DebateStarted& event) const {
    json::object payload{{"task", event.task}, {"seats", toArray(event.seats)}, {"rounds", event.rounds}};
    if (!event.weights.empty()) payload["weights"] = json::array(event.weights.begin(), event.weights.end());
    return payload;
  }
  json::object operator()(const RoundStarted& event) const { return {{"phase", name(event.phase)}}; }
  json::object operator()(const AgentMessage& event) const {
    json::object payload{{"role", name(event.role)}, {"content", event.content}};
    addText(payload, "position", event.position);
    if (event.confidence) payload["confidence"] = *event.confidence;
    if (!event.claims.empty()) payload["claims"] = toArray(event.claims);
    addText(payload, "decision", event.decision);
    if (!event.because.empty()) payload["because"] = toArray(event.because);
    addText(payload, "adopted", event.adopted);
    if (event.uncited) payload["uncited"] = true;
    if (event.gives_orders) payload["gives_orders"] = true;
    return payload;
  }
  json::object operator()(const Critique& event) const {
    json::object payload{{"target", event.target}, {"weakness", event.weakness}, {"severity", event.severity}};
    addText(payload, "id", event.id);
    addText(payload, "strength", event.strength);
    if (event.gives_orders) payload["gives_orders"] = true;
    return payload;
  }
  json::object operator()(const AgentError& event) const {
    json::object payload{{"phase", name(event.phase)}, {"message", event.message}};
    if (event.lasting) payload["lasting"] = true;
    return payload;
  }
  json::object operator()(const RoundEnded&) const { return {}; }
  json::object operator()(const Vote& event) const {
    json::object payload{{"choice", event.choice}, {"confidence", event.confidence}, {"reason", event.reason}};
    addText(payload, "kind", event.kind);
    if (event.more) payload["more"] = *event.more;
    addText(payload, "invalid", event.invalid);
    return payload;
  }
  json::object operator()(const Synthesis& event) const {
    json::object payload{{"content", event.content}};
    if (!event.open_risks.empty()) payload["open_risks"] = toArray(event.open_risks);
    if (!event.from.empty()) payload["from"] = toArray(event.from);
    if (!event.dissent.empty()) payload["dissent"] = toArray(event.dissent);
    return payload;
  }
  json::object operator()(const Consensus& event) const {
    json::array ballots;
    for (const auto& [seat, vote] : event.ballots) {
      auto ballot = (*this)(vote);
      ballot["seat"] = seat;
      ballots.push_back(std::move(ballot));
    }
    json::array dissent;
    for (const auto& [seat, text] : event.dissent) dissent.push_back(json::object{{"seat", seat}, {"text", text}});
    json::object payload{{"reached", event.reached},
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
    if (event.agreed_without_debate) payload["agreed_without_debate"] = true;
    addText(payload, "judged", event.judged);
    return payload;
  }
  json::object operator()(const DebateEnded& event) const {
    json::object payload{{"status", name(event.status)}, {"outcome", event.outcome},
                         {"reason", event.reason},       {"consensus_reached", event.consensus_reached},
                         {"seconds", event.seconds},     {"rounds", event.rounds}};
    addConfig(payload, event.config_hash);
    return payload;
  }
  json::object operator()(const AudienceMessage& event) const {
    return {{"author", event.author}, {"content", event.content}};
  }
  json::object operator()(const MatchRecorded& event) const { return ratings::toJsonObject(event.match); }
  json::object operator()(const Verdict& event) const {
    return {{"choice", event.choice}, {"reason", event.reason}, {"reversed", event.reversed}};
  }
  json::object operator()(const PhaseTimeout& event) const {
    return {{"phase", name(event.phase)}, {"reason", event.reason}};
  }
  json::object operator()(const SeatDropped& event) const { return {{"reason", event.reason}}; }
  json::object operator()(const DebatePaused& event) const {
    return {{"reason", event.reason}, {"phase", name(event.phase)}, {"detail", event.detail}};
  }
  json::object operator()(const DebateResumed&) const { return {}; }
  json::object operator()(const Report& event) const { return {{"report", event.content}}; }
  json::object operator()(const OtherEvent& event) const {
    return event.payload.is_object() ? event.payload.get_object() : json::object{};
  }
};

std::optional<bool> flag(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_bool() ? std::optional(value->get_bool()) : std::nullopt;
}

json::object objectOr(const json::object& object, std::string_view key) {
  const auto* inner = jsonObject(object, key);
  return inner == nullptr ? json::object{} : *inner;
}

std::string configHashIn(const json::object& object) { return jsonTextOr(objectOr(object, "config"), "id", ""); }

DebateCreated readCreated(const json::object& object) {
  return {jsonTextOr(object, "task", ""),       texts(object, "agents"),          jsonIntegerOr(object, "rounds", 0),
          jsonTextOr(object, "consensus", ""),  jsonIntegerOr(object, "seed", 0), jsonTextOr(object, "request_id", ""),
          jsonIntegerOr(object, "protocol", 1), objectOr(object, "options"),      configHashIn(object)};
}

DebateStarted readStarted(const json::object& object) {
  DebateStarted started{jsonTextOr(object, "task", ""), texts(object, "seats"), jsonIntegerOr(object, "rounds", 0)};
  if (const auto* weights = jsonArray(object, "weights")) {
    for (const auto& weight : *weights) started.weights.push_back(weight.is_int64() ? weight.get_int64() : 0);
  }
  return started;
}

AgentMessage readMessage(const json::object& object) {
  return {roleOf(object),
          jsonTextOr(object, "content", ""),
          jsonTextOr(object, "position", ""),
          jsonInteger(object, "confidence"),
          texts(object, "claims"),
          jsonTextOr(object, "decision", ""),
          texts(object, "because"),
          jsonTextOr(object, "adopted", ""),
          jsonFlagOr(object, "uncited", false),
          jsonFlagOr(object, "gives_orders", false)};
}

Vote readVote(const json::object& object) {
  return {jsonTextOr(object, "choice", ""),
          jsonIntegerOr(object, "confidence", 0),
          jsonTextOr(object, "reason", ""),
          jsonTextOr(object, "kind", ""),
          flag(object, "more"),
          jsonTextOr(object, "invalid", "")};
}

// Kinds that the first version did not have.
std::optional<EventBody> readLater(std::string_view type, const json::object& object) {
  const auto phase = parsePhase(jsonTextOr(object, "phase", ""));
  if (type == "judge_verdict")
    return Verdict{jsonTextOr(object, "choice", ""), jsonTextOr(object, "reason", ""),
                   jsonFlagOr(object, "reversed", false)};
  if (type == "phase_timeout" && phase) return PhaseTimeout{*phase, jsonTextOr(object, "reason", "")};
  if (type == "seat_dropped") return SeatDropped{jsonTextOr(object, "reason", "")};
  if (type == "debate_paused" && phase)
    return DebatePaused{jsonTextOr(object, "reason", ""), *phase, jsonTextOr(object, "detail", "")};
  if (type == "debate_resumed") return DebateResumed{};
  if (type == "debate_report") return Report{objectOr(object, "report")};
  return std::nullopt;
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
                  {},
                  jsonFlagOr(object, "agreed_without_debate", false),
                  jsonTextOr(object, "judged", "")};
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
  if (auto later = readLater(kNames.at(kind), object)) return later;
  const auto phase = parsePhase(jsonTextOr(object, "phase", ""));
  const auto status = parseDebateStatus(jsonTextOr(object, "status", ""));
  switch (kind) {
    case 0:
      return readCreated(object);
    case 1:
      return readStarted(object);
    case 2:
      return phase ? std::optional<EventBody>(RoundStarted{*phase}) : std::nullopt;
    case 3:
      return readMessage(object);
    case 4:
      return Critique{jsonTextOr(object, "target", ""),     jsonTextOr(object, "weakness", ""),
                      jsonIntegerOr(object, "severity", 3), jsonTextOr(object, "id", ""),
                      jsonTextOr(object, "strength", ""),   jsonFlagOr(object, "gives_orders", false)};
    case 5:
      return phase ? std::optional<EventBody>(
                         AgentError{*phase, jsonTextOr(object, "message", ""), jsonFlagOr(object, "lasting", false)})
                   : std::nullopt;
    case 6:
      return RoundEnded{};
    case 7:
      return readVote(object);
    case 8:
      return Synthesis{jsonTextOr(object, "content", ""), texts(object, "open_risks"), texts(object, "from"),
                       texts(object, "dissent")};
    case 9:
      return readConsensus(object);
    case 11:
      return AudienceMessage{jsonTextOr(object, "author", ""), jsonTextOr(object, "content", "")};
    case 12: {
      auto match = ratings::matchFrom(object);
      return match ? std::optional<EventBody>(MatchRecorded{std::move(*match)}) : std::nullopt;
    }
    default:
      if (!status || kNames.at(kind) != "debate_end") return std::nullopt;
      return DebateEnded{*status,
                         jsonTextOr(object, "outcome", ""),
                         jsonTextOr(object, "reason", ""),
                         jsonFlagOr(object, "consensus_reached", false),
                         jsonNumberOr(object, "seconds", 0),
                         jsonIntegerOr(object, "rounds", 0),
                         configHashIn(object)};
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
  json::object summary{{"reached", consensus.reached},
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
  if (consensus.agreed_without_debate) summary["agreed_without_debate"] = true;
  addText(summary, "judged", consensus.judged);
  return summary;
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
