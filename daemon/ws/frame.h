// One JSON object for clients, rendered once and shared by all it goes to. Immutable.
#pragma once

#include <memory>

#include "common/store/debates.h"
#include "daemon/wire/deltas.h"

namespace aragora::ws {

struct Frame {
  std::string debate_id;
  std::int64_t seq = 0;  // 0: of no event
  Micros at = 0;         // of the event
  bool is_delta = false;
  bool ends_stream = false;  // debate_end: held back a little, see session.cpp
  std::string agent{};       // of an event: who has said now what was told in parts
  std::string text;
};
using FramePtr = std::shared_ptr<const Frame>;  // shared by the queues of all clients that subscribed

FramePtr makeFrame(const store::Event& event);
FramePtr makeFrame(json::object control);

// How a client wants to hear answers as they are made.
enum class Deltas { None, Agent, Tokens };  // not at all; agent_delta; under the original's names
std::optional<Deltas> parseDeltas(std::string_view name);
std::vector<FramePtr> makeFrames(const wire::Delta& delta, Deltas how);

}  // namespace aragora::ws
