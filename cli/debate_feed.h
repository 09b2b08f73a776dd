// Follows one debate of a deployment to its end: over its WebSocket, which is opened again when it breaks, or by asking
// for events where no WebSocket can be had. One thread.
#pragma once

#include "common/probe/site.h"

namespace aragora::cli {

class DebateFeed {
 public:
  // Both outlive it. `longest`: how long the deployment may be silent or away before it is given up.
  DebateFeed(const probe::Site& site, std::string id, std::chrono::seconds longest = std::chrono::minutes(2));

  // Every event of the debate once and in order (they have `seq`), and in between what agents say as it comes
  // (agent_delta, agent_message_reset). Until its last event. Throws net::Failure, Error(NotFound | Interrupted | …).
  using Hear = std::function<void(const json::object& frame)>;
  void follow(const Hear& hear);

 private:
  bool listen(const Hear& hear);
  bool askForEvents(const Hear& hear);
  bool take(const json::object& frame, const Hear& hear);
  const probe::Site& site_;
  std::string id_;
  std::chrono::seconds longest_;
  std::int64_t last_seq_ = 0;
};

}  // namespace aragora::cli
