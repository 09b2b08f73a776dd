#include "daemon/api/render.h"

#include <cmath>

namespace aragora::api {

namespace {
json::value isoOrNull(const std::optional<Micros>& at) { return at ? json::value(toIso(*at)) : json::value(nullptr); }

json::value consensusOf(const store::Debate& debate) {
  if (debate.consensus.is_object()) return debate.consensus;
  return json::object{{"reached", false}, {"agreement", 0.0}, {"confidence", 0.0}, {"final_answer", nullptr}};
}
}  // namespace

json::object renderDebateSummary(const store::Debate& debate) {
  json::object object;
  object.reserve(26);
  object["id"] = debate.id;
  object["debate_id"] = debate.id;
  object["slug"] = debate.slug.empty() ? json::value(nullptr) : json::value(debate.slug);
  object["task"] = debate.task;
  object["status"] = debate.status;
  object["agents"] = json::array(debate.agents.begin(), debate.agents.end());
  object["total_rounds"] = debate.rounds;
  object["rounds_used"] = debate.rounds_used;
  object["consensus_kind"] = debate.consensus_kind;
  object["consensus_reached"] = debate.consensus_reached ? json::value(*debate.consensus_reached) : json::value(false);
  object["consensus"] = consensusOf(debate);
  object["confidence"] = debate.confidence;
  object["final_answer"] = debate.final_answer.empty() ? json::value(nullptr) : json::value(debate.final_answer);
  object["conclusion"] = object["final_answer"];
  object["outcome"] = debate.outcome.empty() ? json::value(nullptr) : json::value(debate.outcome);
  object["created_at"] = toIso(debate.created_at);
  object["started_at"] = isoOrNull(debate.started_at);
  object["completed_at"] = isoOrNull(debate.completed_at);
  object["duration_seconds"] = debate.completed_at && debate.started_at
                                   ? static_cast<double>(*debate.completed_at - *debate.started_at) / 1e6
                                   : 0.0;
  object["in_progress"] = !debate.finished();
  object["metadata"] = debate.metadata;
  if (!debate.error.empty()) object["error"] = debate.error;
  return object;
}

json::object renderMessage(const store::Event& event, std::int64_t index) {
  const auto& payload = event.payload.as_object();
  return {{"index", index},
          {"role", jsonTextOr(payload, "role", "assistant")},
          {"content", jsonTextOr(payload, "content", "")},
          {"agent", event.agent},
          {"agent_id", event.agent},
          {"round", event.round},
          {"timestamp", toIso(event.at)}};
}

json::object renderDebate(const store::Debate& debate, const std::vector<store::Event>& events) {
  auto object = renderDebateSummary(debate);
  object["context"] = debate.context;
  std::map<std::int64_t, json::object> rounds;
  std::int64_t index = 0;
  for (const auto& event : events) {
    if (!event.payload.is_object()) continue;
    auto& round = rounds[event.round];
    if (round.empty())
      round = {{"round", event.round},
               {"round_number", event.round},
               {"messages", json::array()},
               {"critiques", json::array()},
               {"votes", json::array()}};
    if (event.type == "agent_message") round["messages"].as_array().push_back(renderMessage(event, index++));
    if (event.type == "critique") round["critiques"].as_array().push_back(event.payload);
    if (event.type == "vote") round["votes"].as_array().push_back(event.payload);
  }
  json::array list;
  for (auto& [number, round] : rounds) list.push_back(std::move(round));
  object["rounds"] = std::move(list);
  return object;
}

json::object renderEvent(const store::Event& event) {
  auto data = event.payload.is_object() ? event.payload.as_object() : json::object();
  data["debate_id"] = event.debate_id;
  data["round_number"] = event.round;
  return {{"type", event.type},           {"debate_id", event.debate_id},
          {"loop_id", event.debate_id},   {"seq", event.seq},
          {"round", event.round},         {"agent", event.agent},
          {"timestamp", toIso(event.at)}, {"ts", static_cast<double>(event.at) / 1e6},
          {"data", std::move(data)}};
}

json::object renderRating(const store::Rating& rating, std::int64_t rank) {
  const double rate = rating.matches > 0 ? static_cast<double>(rating.wins) / static_cast<double>(rating.matches) : 0;
  return {{"rank", rank},
          {"name", rating.agent},
          {"agent_name", rating.agent},
          {"agent_id", rating.agent},
          {"elo", rating.elo},
          {"elo_rating", std::llround(rating.elo)},
          {"wins", rating.wins},
          {"losses", rating.losses},
          {"draws", rating.draws},
          {"games", rating.matches},
          {"matches", rating.matches},
          {"matches_played", rating.matches},
          {"total_debates", rating.matches},
          {"win_rate", rate},
          {"last_debate", rating.last_match_at ? json::value(toIso(*rating.last_match_at)) : json::value(nullptr)}};
}

}  // namespace aragora::api
