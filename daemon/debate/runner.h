// Carries out what the protocol says: provider calls (recorded as intent before and as result after), events, the
// summary, ratings, publishing. Written so that running a debate again after a crash goes on where it stopped: what was
// recorded is told to a new Protocol, a call with a result is not made again, one without is unknown and made anew.
#pragma once

#include "common/crypto/keyring.h"
#include "common/metrics/metrics.h"
#include "common/store/debates.h"
#include "daemon/debate/control.h"
#include "daemon/providers/provider.h"
#include "daemon/wire/deltas.h"

namespace aragora::debate {

class Spending;

// Why a run stopped without ending the debate: the daemon stops, or another instance has the lease.
struct HandedBack {};
// It rests, as is recorded, and may be taken up after that long: at once, when somebody wanted it to rest, since then
// nobody takes it before they want it to go on.
struct Rests {
  std::chrono::milliseconds pause{0};
};

struct RunServices {
  database::Database& database;
  const crypto::Keyring& keyring;
  store::Debates& debates;
  store::Leases& leases;
  const providers::Providers& providers;
  metrics::Registry& metrics;
  std::function<void(const store::Event&)> publish;  // after an event is durable
  std::chrono::seconds call_timeout{30};
  std::chrono::seconds deadline{600};               // of a debate, from its creation, without what it rested on request
  const Spending* spending = nullptr;               // none: nothing is reserved, and no cap is held
  std::function<void(const wire::Delta&)> speak{};  // answers as they are made; in the threads of the calls
  std::function<std::string()> config_hash = [] { return std::string(); };  // of the settings in effect
};

// Throws HandedBack, Rests, or Error when the store fails; otherwise the debate has ended.
void runDebate(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
               const Control& control);
// Ends a debate that cannot be run.
void failDebate(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
                const std::string& reason);

}  // namespace aragora::debate
