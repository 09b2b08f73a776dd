// Who waits for the answer of a debate over the chat API. Debates go on without them; events and parts of answers come
// in from any thread, and are never waited for.
#pragma once

#include <functional>
#include <map>
#include <mutex>

#include "daemon/api/api.h"
#include "daemon/edge/long_answer.h"
#include "daemon/edge/worker_pool.h"
#include "daemon/wire/deltas.h"

namespace aragora::chat {

// One of them.
struct Waiting {
  std::string debate_id;
  std::string model;
  std::string request_id;
  std::string receipt_url;
  debate::Caller caller;
  std::int64_t created = 0;  // seconds
  bool stream = false;
  bool include_usage = false;
};

class Desk {
 public:
  struct Services {
    store::Debates& debates;
    debate::Service& debating;
    edge::WorkerPool& workers;
    bool cancel_when_gone = true;
    // Somebody waits for the final answer while it is written; in an I/O thread.
    std::function<void(const std::string& debate_id)> listened = {};
  };
  // All of them outlive it.
  explicit Desk(Services services) : services_(services) {}

  // In the I/O thread of the connection.
  void take(edge::Upgraded&& upgraded, Waiting waiting);
  void heard(const store::Event& event);
  void spoken(const wire::Delta& delta);
  bool awaits(const std::string& debate_id) const;
  std::vector<std::string> awaited() const;
  std::vector<std::string> listened() const;  // those of which parts are told; one for each who waits
  // The daemon stops: everybody is told so. Nobody is taken any more.
  void closeAll();
  void dropAll();

 private:
  struct Place;
  using PlacePtr = std::shared_ptr<Place>;  // shared by the table and what is under way for it
  std::vector<PlacePtr> at(const std::string& debate_id) const;
  void leave(const PlacePtr& place);
  void gone(const PlacePtr& place);
  void cancel(const PlacePtr& place);
  void finishIfEnded(const PlacePtr& place);
  void finish(const PlacePtr& place, const store::Debate& debate);
  void inWorker(const PlacePtr& place, void (Desk::*what)(const PlacePtr&));

  Services services_;
  mutable std::mutex mutex_;
  std::multimap<std::string, PlacePtr> places_;
  std::vector<edge::LongAnswer> lines_;  // also of those that were answered, until they have gone
  bool closed_ = false;
};

}  // namespace aragora::chat
