#include "daemon/ws/frame.h"

#include "daemon/wire/events.h"

namespace aragora::ws {

FramePtr makeFrame(const store::Event& event) {
  auto frame = std::make_shared<Frame>();
  frame->debate_id = event.debate_id;
  frame->seq = event.seq;
  frame->at = event.at;
  frame->ends_stream = std::holds_alternative<store::DebateEnded>(event.body);
  frame->agent = event.agent;
  frame->text = toJson(wire::renderEvent(event));
  return frame;
}

FramePtr makeFrame(json::object control) {
  auto frame = std::make_shared<Frame>();
  frame->text = toJson(control);
  return frame;
}

std::optional<Deltas> parseDeltas(std::string_view name) {
  if (name.empty() || name == "none") return Deltas::None;
  if (name == "agent") return Deltas::Agent;
  return name == "tokens" ? std::optional(Deltas::Tokens) : std::nullopt;
}

std::vector<FramePtr> makeFrames(const wire::Delta& delta, Deltas how) {
  std::vector<FramePtr> frames;
  const auto add = [&](const json::object& object) {
    auto frame = std::make_shared<Frame>();
    frame->debate_id = delta.debate_id;
    frame->is_delta = true;
    frame->text = toJson(object);
    frames.push_back(std::move(frame));
  };
  if (how == Deltas::Agent) {
    if (const auto frame = wire::renderDelta(delta)) add(*frame);
  } else if (how == Deltas::Tokens) {
    for (const auto& frame : wire::renderTokens(delta)) add(frame);
  }
  return frames;
}

}  // namespace aragora::ws
