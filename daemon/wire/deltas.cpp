#include "daemon/wire/deltas.h"

#include <algorithm>

namespace aragora::wire {

namespace {
json::object frame(std::string_view type, const Delta& delta, json::object data) {
  data["debate_id"] = delta.debate_id;
  data["agent"] = delta.agent;
  data["phase"] = store::name(delta.phase);
  data["round"] = delta.round;
  data["round_number"] = delta.round;
  data["attempt"] = delta.attempt;
  return {{"type", type},
          {"debate_id", delta.debate_id},
          {"loop_id", delta.debate_id},
          {"round", delta.round},
          {"agent", delta.agent},
          {"timestamp", toIso(delta.at)},
          {"ts", static_cast<double>(delta.at) / 1e6},
          {"data", std::move(data)}};
}
}  // namespace

bool Delta::continuedBy(const Delta& next) const {
  return kind == Kind::Text && next.kind == Kind::Text && debate_id == next.debate_id && agent == next.agent &&
         phase == next.phase && round == next.round && attempt == next.attempt &&
         offset + characters(text) == next.offset;
}

std::optional<json::object> renderDelta(const Delta& delta) {
  switch (delta.kind) {
    case Delta::Kind::Text:
      return frame("agent_delta", delta, {{"offset", delta.offset}, {"text", delta.text}});
    case Delta::Kind::Reset:
      return frame("agent_message_reset", delta, {});
    case Delta::Kind::End:
      break;
  }
  return std::nullopt;
}

std::vector<json::object> renderTokens(const Delta& delta) {
  std::vector<json::object> frames;
  switch (delta.kind) {
    case Delta::Kind::Text:
      if (delta.offset == 0) frames.push_back(frame("token_start", delta, {}));
      frames.push_back(frame("token_delta", delta, {{"token", delta.text}, {"offset", delta.offset}}));
      break;
    case Delta::Kind::Reset:
      frames.push_back(frame("agent_message_reset", delta, {}));
      break;
    case Delta::Kind::End:
      frames.push_back(frame("token_end", delta, {{"length", delta.offset}}));
      break;
  }
  return frames;
}

std::int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

}  // namespace aragora::wire
