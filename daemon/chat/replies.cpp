#include "daemon/chat/replies.h"

#include "common/base/text.h"

namespace aragora::chat {

namespace {
json::object usageOf(const Tokens& tokens) {
  return {{"prompt_tokens", tokens.prompt},
          {"completion_tokens", tokens.completion},
          {"total_tokens", tokens.prompt + tokens.completion}};
}

json::object aboutDebate(const Waiting& waiting, const store::Debate& debate, const Spent& spent) {
  return {{"debate_id", debate.id},
          {"status", store::name(debate.status)},
          {"outcome", debate.outcome},
          {"consensus_kind", debate.consensus_kind},
          {"consensus_reached", debate.consensus_reached.value_or(false)},
          {"confidence", debate.confidence},
          {"rounds_used", debate.rounds_used},
          {"agents", json::array(debate.agents.begin(), debate.agents.end())},
          {"cost_usd", toUsd(spent.cost)},
          {"receipt_url", waiting.receipt_url}};
}

json::object chunkOf(const Waiting& waiting, json::object delta, json::value finish_reason) {
  return {{"id", "chatcmpl-" + waiting.debate_id},
          {"object", "chat.completion.chunk"},
          {"created", waiting.created},
          {"model", waiting.model},
          {"choices", json::array{json::object{{"index", 0},
                                               {"delta", std::move(delta)},
                                               {"logprobs", nullptr},
                                               {"finish_reason", std::move(finish_reason)}}}}};
}

std::string event(const json::object& object) { return "data: " + toJson(object) + "\n\n"; }

json::object error(const Waiting& waiting, const std::string& message, std::string_view code) {
  return {{"error", json::object{{"message", message},
                                 {"type", "server_error"},
                                 {"param", nullptr},
                                 {"code", code},
                                 {"request_id", waiting.request_id}}},
          {"aragora", json::object{{"debate_id", waiting.debate_id}}}};
}
}  // namespace

Tokens tokensOf(const std::vector<store::Call>& calls) {
  Tokens tokens;
  for (const auto& call : calls) {
    tokens.prompt += call.tokens_in;
    tokens.completion += call.tokens_out;
  }
  return tokens;
}

json::object completion(const Waiting& waiting, const store::Debate& debate, const Spent& spent) {
  return {{"id", "chatcmpl-" + waiting.debate_id},
          {"object", "chat.completion"},
          {"created", waiting.created},
          {"model", waiting.model},
          {"choices",
           json::array{json::object{
               {"index", 0},
               {"message", json::object{{"role", "assistant"}, {"content", debate.final_answer}, {"refusal", nullptr}}},
               {"logprobs", nullptr},
               {"finish_reason", "stop"}}}},
          {"usage", usageOf(spent.tokens)},
          {"aragora", aboutDebate(waiting, debate, spent)}};
}

std::string firstChunk(const Waiting& waiting) {
  auto chunk = chunkOf(waiting, {{"role", "assistant"}, {"content", ""}}, nullptr);
  chunk["aragora"] = json::object{{"debate_id", waiting.debate_id}};
  return event(chunk);
}

std::string textChunk(const Waiting& waiting, std::string_view text) {
  return event(chunkOf(waiting, {{"content", text}}, nullptr));
}

std::string lastChunks(const Waiting& waiting, const store::Debate& debate, const Spent& spent) {
  auto last = chunkOf(waiting, {}, "stop");
  last["aragora"] = aboutDebate(waiting, debate, spent);
  auto text = event(last);
  if (waiting.include_usage) {
    auto usage = chunkOf(waiting, {}, nullptr);
    usage["choices"] = json::array();
    usage["usage"] = usageOf(spent.tokens);
    text += event(usage);
  }
  return text + "data: [DONE]\n\n";
}

std::string errorEvent(const json::object& error) { return event(error) + "data: [DONE]\n\n"; }

bool hasAnswer(const store::Debate& debate) {
  return debate.status == store::DebateStatus::Completed && !debate.final_answer.empty();
}

json::object errorOf(const Waiting& waiting, const store::Debate& debate) {
  const auto why = !debate.error.empty() ? debate.error : debate.outcome;
  return error(waiting,
               fmt::format("the debate is {}: {}", store::name(debate.status), why.empty() ? "without an answer" : why),
               fmt::format("debate_{}", store::name(debate.status)));
}

json::object stopping(const Waiting& waiting) {
  return error(waiting, "the server is stopping; the debate goes on: GET /api/debates/" + waiting.debate_id,
               "server_stopping");
}

}  // namespace aragora::chat
