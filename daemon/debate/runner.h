// Carries out what the protocol says: provider calls (recorded as intent before and as result after), events, the
// summary, ratings, publishing. Written so that running a debate again after a crash goes on where it stopped: what was
// recorded is told to a new Protocol, a call with a result is not made again, one without is unknown and made anew.
#pragma once

#include "common/crypto/keyring.h"
#include "common/metrics/metrics.h"
#include "common/store/debates.h"
#include "common/store/ratings.h"
#include "daemon/debate/control.h"
#include "daemon/providers/provider.h"

namespace aragora::debate {

// Why a run stopped without ending the debate: the daemon stops, or another instance has the lease.
struct HandedBack {};

struct RunServices {
  database::Database& database;
  const crypto::Keyring& keyring;
  store::Debates& debates;
  store::Leases& leases;
  store::Ratings& ratings;
  const providers::Providers& providers;
  metrics::Registry& metrics;
  std::function<void(const store::Event&)> publish;  // after an event is durable
  std::chrono::seconds call_timeout{30};
  std::chrono::seconds deadline{600};  // of a debate, from its creation
};

// Throws HandedBack, or Error when the store fails; otherwise the debate has ended.
void runDebate(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
               const Control& control);
// Ends a debate that cannot be run.
void failDebate(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
                const std::string& reason);

}  // namespace aragora::debate
