#include "daemon/ws/frame.h"

#include "daemon/wire/events.h"

namespace aragora::ws {

FramePtr makeFrame(const store::Event& event) {
  auto frame = std::make_shared<Frame>();
  frame->debate_id = event.debate_id;
  frame->seq = event.seq;
  frame->at = event.at;
  frame->ends_stream = std::holds_alternative<store::DebateEnded>(event.body);
  frame->text = toJson(wire::renderEvent(event));
  return frame;
}

FramePtr makeFrame(json::object control) {
  auto frame = std::make_shared<Frame>();
  frame->text = toJson(control);
  return frame;
}

}  // namespace aragora::ws
