// One debate from where its events stand to its end: blind proposals, rounds of critique and revision, a vote on
// anonymous proposals, a tally, a synthesis. Written so that running it again after a crash goes on where it stopped:
// an event that is there is not written again, a call with a recorded result is not made again, a call without one is
// recorded as unknown and made anew. Peers' text is data in JSON, instructions stand in the system message only.
#pragma once

#include <stop_token>

#include "common/metrics/metrics.h"
#include "common/store/debates.h"
#include "common/store/ratings.h"
#include "daemon/debate/consensus.h"
#include "daemon/providers/provider.h"

namespace aragora::debate {

// Why a run stopped without ending the debate: the daemon stops, or another instance has the lease.
struct HandedBack {};

struct RunServices {
  store::Debates& debates;
  store::Ratings& ratings;
  const providers::Providers& providers;
  metrics::Registry& metrics;
  std::function<void(const store::Event&)> publish;  // after an event is durable
  std::chrono::seconds call_timeout{30};
  std::chrono::seconds deadline{600};
};

struct RunControl {
  std::atomic<bool> stop{false};  // hand the debate back at the next step
  std::stop_source cancelling;    // end it as cancelled, and the calls in flight at once
};

// Throws HandedBack, or Error when the store fails; otherwise the debate has ended.
void runDebate(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
               RunControl& control);

}  // namespace aragora::debate
