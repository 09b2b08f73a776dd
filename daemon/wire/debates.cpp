#include "daemon/wire/debates.h"

#include "daemon/wire/events.h"

namespace aragora::wire {

namespace {
constexpr std::string_view kUndecided = R"({"reached":false,"agreement":0.0,"confidence":0.0,"final_answer":null})";

std::string isoOrEmpty(const std::optional<Micros>& at) { return at ? toIso(*at) : std::string(); }

std::string arrayText(const std::vector<std::string>& texts) { return toJson(json::array(texts.begin(), texts.end())); }

void writeSummary(JsonObjectText& object, const store::Debate& debate) {
  object.text("id", debate.id);
  object.text("debate_id", debate.id);
  object.textOrNull("slug", debate.slug);
  object.text("task", debate.task);
  object.text("status", store::name(debate.status));
  object.raw("agents", arrayText(debate.agents));
  object.integer("total_rounds", debate.rounds);
  object.integer("rounds_used", debate.rounds_used);
  object.text("consensus_kind", debate.consensus_kind);
  object.flag("consensus_reached", debate.consensus_reached.value_or(false));
  object.raw("consensus", decisionText(debate));
  object.number("confidence", debate.confidence);
  object.textOrNull("final_answer", debate.final_answer);
  object.textOrNull("conclusion", debate.final_answer);
  object.textOrNull("outcome", debate.outcome);
  object.text("created_at", toIso(debate.created_at));
  object.textOrNull("started_at", isoOrEmpty(debate.started_at));
  object.textOrNull("completed_at", isoOrEmpty(debate.completed_at));
  object.number("duration_seconds", debate.completed_at && debate.started_at
                                        ? static_cast<double>(*debate.completed_at - *debate.started_at) / 1e6
                                        : 0.0);
  object.flag("in_progress", !debate.finished());
  object.raw("metadata", debate.metadata);
  if (!debate.error.empty()) object.text("error", debate.error);
}
// Of a debate that rests: why, and since when.
std::optional<json::object> restOf(const store::Debate& debate, const std::vector<store::Event>& events) {
  if (debate.status != store::DebateStatus::Paused) return std::nullopt;
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    if (const auto* paused = std::get_if<store::DebatePaused>(&event->body))
      return json::object{{"reason", paused->reason}, {"detail", paused->detail}, {"since", toIso(event->at)}};
  }
  return std::nullopt;
}
}  // namespace

std::string_view decisionText(const store::Debate& debate) {
  return debate.consensus.empty() ? kUndecided : std::string_view(debate.consensus);
}

void appendDebateSummary(std::string& out, const store::Debate& debate) {
  JsonObjectText object(out);
  writeSummary(object, debate);
  object.finish();
}

json::array renderRounds(const std::vector<store::Event>& events) {
  std::map<std::int64_t, json::object> rounds;
  std::int64_t index = 0;
  for (const auto& event : events) {
    auto& round = rounds[event.round];
    if (round.empty())
      round = {{"round", event.round},
               {"round_number", event.round},
               {"messages", json::array()},
               {"critiques", json::array()},
               {"votes", json::array()}};
    if (isMessage(event)) round["messages"].as_array().push_back(renderMessage(event, index++));
    if (std::holds_alternative<store::Critique>(event.body))
      round["critiques"].as_array().push_back(renderPayload(event));
    if (std::holds_alternative<store::Vote>(event.body)) round["votes"].as_array().push_back(renderPayload(event));
  }
  json::array list;
  for (auto& [number, round] : rounds) list.push_back(std::move(round));
  return list;
}

json::array renderVotes(const std::vector<store::Event>& events) {
  json::array votes;
  for (const auto& event : events) {
    if (std::holds_alternative<store::Vote>(event.body)) votes.push_back(renderPayload(event));
  }
  return votes;
}

json::array renderSeats(const store::Debate& debate, const std::vector<store::Event>& events) {
  std::vector<std::string> seats = debate.agents;
  for (const auto& event : events) {
    if (const auto* started = std::get_if<store::DebateStarted>(&event.body)) seats = started->seats;
  }
  json::array list;
  for (const auto& seat : seats) {
    const auto counted = [&](const auto& is_one) {
      return std::count_if(events.begin(), events.end(),
                           [&](const store::Event& event) { return event.agent == seat && is_one(event.body); });
    };
    list.push_back(json::object{
        {"name", seat},
        {"agent_id", seat},
        {"messages", counted([](const auto& body) { return std::holds_alternative<store::AgentMessage>(body); })},
        {"critiques", counted([](const auto& body) { return std::holds_alternative<store::Critique>(body); })},
        {"votes", counted([](const auto& body) { return std::holds_alternative<store::Vote>(body); })},
        {"errors", counted([](const auto& body) { return std::holds_alternative<store::AgentError>(body); })}});
  }
  return list;
}

std::string renderDebate(const store::Debate& debate, const std::vector<store::Event>& events) {
  std::string body;
  JsonObjectText object(body);
  writeSummary(object, debate);
  object.text("context", debate.context);
  object.raw("rounds", toJson(renderRounds(events)));
  for (const auto& event : events) {
    if (const auto* report = std::get_if<store::Report>(&event.body)) object.raw("report", toJson(report->content));
  }
  if (const auto rest = restOf(debate, events)) object.raw("paused", toJson(*rest));
  object.finish();
  return body;
}

}  // namespace aragora::wire
