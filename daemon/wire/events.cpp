#include "daemon/wire/events.h"

namespace aragora::wire {

namespace {
using store::fraction;
using store::shown;

json::array arrayOf(const std::vector<std::string>& texts) { return json::array(texts.begin(), texts.end()); }

struct Renderer {
  const store::Event& event;

  json::object operator()(const store::DebateCreated& created) const {
    json::object shown{{"task", created.task},
                       {"agents", arrayOf(created.agents)},
                       {"total_rounds", created.rounds},
                       {"consensus", created.consensus},
                       {"seed", created.seed}};
    if (created.protocol != 1) shown["protocol"] = created.protocol;
    if (!created.options.empty()) shown["options"] = created.options;
    return shown;
  }
  json::object operator()(const store::DebateStarted& started) const {
    json::object shown{{"task", started.task},
                       {"agents", arrayOf(started.seats)},
                       {"total_rounds", started.rounds},
                       {"rounds", started.rounds}};
    if (!started.weights.empty()) shown["weights"] = json::array(started.weights.begin(), started.weights.end());
    return shown;
  }
  json::object operator()(const store::RoundStarted& started) const {
    return {{"round", event.round}, {"phase", store::name(started.phase)}};
  }
  json::object operator()(const store::AgentMessage& message) const {
    json::object shown{{"role", store::name(message.role)},
                       {"agent", event.agent},
                       {"content", message.content},
                       {"round", event.round}};
    if (!message.position.empty()) shown["position"] = message.position;
    if (message.confidence) shown["confidence"] = fraction(*message.confidence);
    if (!message.claims.empty()) shown["key_claims"] = arrayOf(message.claims);
    if (message.decision.empty()) return shown;
    shown["decision"] = message.decision;
    shown["because"] = arrayOf(message.because);
    if (!message.adopted.empty()) shown["adopted"] = message.adopted;
    shown["cited"] = !message.uncited;
    return shown;
  }
  json::object operator()(const store::Critique& critique) const {
    const auto severity = critique.severity;
    json::object shown{{"agent", event.agent},
                       {"critic", event.agent},
                       {"target", critique.target},
                       {"target_agent", critique.target},
                       {"critique", critique.weakness},
                       {"content", critique.weakness},
                       {"issues", json::array{json::string(critique.weakness)}},
                       {"severity", severity <= 2   ? "minor"
                                    : severity == 3 ? "moderate"
                                                    : "major"},
                       {"severity_score", severity},
                       {"score", static_cast<double>(severity) / 5},
                       {"round", event.round}};
    if (!critique.id.empty()) shown["id"] = critique.id;
    if (!critique.strength.empty()) shown["strength"] = critique.strength;
    return shown;
  }
  json::object operator()(const store::AgentError& error) const {
    return {{"agent", event.agent},
            {"phase", store::name(error.phase)},
            {"message", error.message},
            {"target", store::name(error.phase)}};
  }
  json::object operator()(const store::RoundEnded&) const { return {{"round", event.round}}; }
  json::object operator()(const store::Vote& vote) const {
    json::object data{{"agent", event.agent},     {"vote", shown(vote)},
                      {"choice", shown(vote)},    {"confidence", fraction(vote.confidence)},
                      {"reasoning", vote.reason}, {"valid", !vote.choice.empty()},
                      {"round", event.round}};
    if (!vote.kind.empty()) data["kind"] = vote.kind;
    if (vote.more) data["continue"] = *vote.more;
    if (!vote.invalid.empty()) data["invalid"] = vote.invalid;
    return data;
  }
  json::object operator()(const store::Synthesis& synthesis) const {
    json::object data{{"agent", event.agent}, {"role", "synthesizer"}, {"content", synthesis.content}, {"target", ""}};
    if (!synthesis.open_risks.empty()) data["open_risks"] = arrayOf(synthesis.open_risks);
    if (!synthesis.from.empty()) data["from"] = arrayOf(synthesis.from);
    if (!synthesis.dissent.empty()) data["dissent"] = arrayOf(synthesis.dissent);
    return data;
  }
  json::object operator()(const store::Consensus& consensus) const {
    json::array dissent;
    for (const auto& [seat, text] : consensus.dissent) dissent.push_back(json::object{{"agent", seat}, {"text", text}});
    return {{"reached", consensus.reached},
            {"confidence", consensus.confidence},
            {"answer", consensus.answer},
            {"result", consensus.answer},
            {"method", consensus.method},
            {"dissent", std::move(dissent)},
            {"consensus", store::toSummary(consensus)}};
  }
  json::object operator()(const store::DebateEnded& ended) const {
    return {{"status", store::name(ended.status)},
            {"outcome", ended.outcome},
            {"reason", ended.reason},
            {"consensus_reached", ended.consensus_reached},
            {"duration_seconds", ended.seconds},
            {"duration", ended.seconds},
            {"total_rounds", ended.rounds},
            {"rounds", ended.rounds}};
  }
  json::object operator()(const store::AudienceMessage& message) const {
    return {{"role", "user"}, {"author", message.author}, {"content", message.content}, {"round", event.round}};
  }
  json::object operator()(const store::Verdict& verdict) const {
    return {{"agent", event.agent},
            {"choice", verdict.choice.empty() ? "abstain" : verdict.choice},
            {"reasoning", verdict.reason},
            {"order", verdict.reversed ? "reversed" : "first"},
            {"round", event.round}};
  }
  json::object operator()(const store::PhaseTimeout& timeout) const {
    return {{"phase", store::name(timeout.phase)}, {"reason", timeout.reason}, {"round", event.round}};
  }
  json::object operator()(const store::SeatDropped& dropped) const {
    return {{"agent", event.agent}, {"reason", dropped.reason}, {"round", event.round}};
  }
  json::object operator()(const store::DebatePaused& paused) const {
    return {{"status", store::name(store::DebateStatus::Paused)}, {"reason", paused.reason}, {"detail", paused.detail}};
  }
  json::object operator()(const store::DebateResumed&) const {
    return {{"status", store::name(store::DebateStatus::Running)}};
  }
  json::object operator()(const store::Report& report) const { return {{"report", report.content}}; }
  json::object operator()(const store::MatchRecorded& recorded) const {
    auto data = ratings::toJsonObject(recorded.match);
    json::array participants;
    for (const auto& seat : recorded.match.seats) participants.emplace_back(ratings::identityOf(seat));
    data["participants"] = std::move(participants);
    return data;
  }
  json::object operator()(const store::OtherEvent& other) const {
    return other.payload.is_object() ? other.payload.get_object() : json::object{};
  }
};
}  // namespace

json::object renderPayload(const store::Event& event) { return std::visit(Renderer{event}, event.body); }

bool isMessage(const store::Event& event) {
  return std::holds_alternative<store::AgentMessage>(event.body) ||
         std::holds_alternative<store::AudienceMessage>(event.body);
}

json::object renderMessage(const store::Event& event, std::int64_t index) {
  const auto payload = renderPayload(event);
  const auto speaker = jsonTextOr(payload, "author", event.agent);
  return {{"index", index},
          {"role", jsonTextOr(payload, "role", "assistant")},
          {"content", jsonTextOr(payload, "content", "")},
          {"agent", speaker},
          {"agent_id", speaker},
          {"round", event.round},
          {"timestamp", toIso(event.at)}};
}

json::object renderEvent(const store::Event& event) {
  auto data = renderPayload(event);
  data["debate_id"] = event.debate_id;
  data["round_number"] = event.round;
  return {{"type", event.type()},         {"debate_id", event.debate_id},
          {"loop_id", event.debate_id},   {"seq", event.seq},
          {"round", event.round},         {"agent", event.agent},
          {"timestamp", toIso(event.at)}, {"ts", static_cast<double>(event.at) / 1e6},
          {"data", std::move(data)}};
}

}  // namespace aragora::wire
