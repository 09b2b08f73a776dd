// Fan-out of debate events to WebSocket clients. publish() is called once an event is durable, from any thread; each
// I/O thread has a shard that serves its own clients, so an event costs one hand-over a thread, not one a client.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "common/metrics/metrics.h"
#include "common/store/debates.h"

namespace aragora::ws {

// One JSON object, rendered once and shared by every client it goes to.
struct Frame {
  std::string debate_id;
  std::int64_t seq = 0;
  bool ends_stream = false;  // debate_end: held back a little, see session.h
  std::string text;
};
using FramePtr = std::shared_ptr<const Frame>;  // shared by the queues of all clients that subscribed

FramePtr makeFrame(const store::Event& event);

// Implemented by the I/O threads. Methods may be called from any thread.
class Shard {
 public:
  virtual ~Shard() = default;
  virtual void deliver(FramePtr frame) = 0;
  virtual std::size_t clients() const = 0;
  virtual void closeAll() = 0;  // with 1001, going away
};

class Hub {
 public:
  void add(Shard& shard);
  void publish(const store::Event& event);
  std::size_t clients() const;
  void closeAll();

 private:
  mutable std::mutex mutex_;
  std::vector<Shard*> shards_;
};

}  // namespace aragora::ws
