#include "daemon/ws/hub.h"

#include "daemon/wire/debates.h"

namespace aragora::ws {

FramePtr makeFrame(const store::Event& event) {
  auto frame = std::make_shared<Frame>();
  frame->debate_id = event.debate_id;
  frame->seq = event.seq;
  frame->ends_stream = event.type == "debate_end";
  frame->text = toJson(wire::renderEvent(event));
  return frame;
}

void Hub::add(Shard& shard) {
  const std::lock_guard lock(mutex_);
  shards_.push_back(&shard);
}

void Hub::publish(const store::Event& event) {
  const std::lock_guard lock(mutex_);
  if (shards_.empty()) return;
  const auto frame = makeFrame(event);
  for (auto* shard : shards_) shard->deliver(frame);
}

std::size_t Hub::clients() const {
  const std::lock_guard lock(mutex_);
  std::size_t total = 0;
  for (const auto* shard : shards_) total += shard->clients();
  return total;
}

void Hub::closeAll() {
  const std::lock_guard lock(mutex_);
  for (auto* shard : shards_) shard->closeAll();
}

}  // namespace aragora::ws
