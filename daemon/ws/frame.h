// One JSON object for clients, rendered once and shared by all it goes to. Immutable.
#pragma once

#include <memory>

#include "common/store/debates.h"

namespace aragora::ws {

struct Frame {
  std::string debate_id;
  std::int64_t seq = 0;      // 0: of no event
  Micros at = 0;             // of the event
  bool ends_stream = false;  // debate_end: held back a little, see session.cpp
  std::string text;
};
using FramePtr = std::shared_ptr<const Frame>;  // shared by the queues of all clients that subscribed

FramePtr makeFrame(const store::Event& event);
FramePtr makeFrame(json::object control);

}  // namespace aragora::ws
