// Who runs which debate. An instance holds a lease for each of its debates and renews all of them in one statement; a
// new owner raises the epoch, and writes of an older epoch are refused (fencing). Times are the database's, so that the
// clocks of instances may differ. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/database/database.h"

namespace aragora::store {

struct Lease {
  std::string debate_id;
  std::string instance;
  std::int64_t epoch = 0;
  std::int64_t failures = 0;  // how often running it has failed
};

// Inside a write transaction: locks the lease's row until its end, so that nobody takes the debate over in between.
// Error(Conflict) when somebody has.
void requireHeld(database::Connection& connection, const Lease& lease);
Error leaseLost(const Lease& lease);

class Leases {
 public:
  Leases(database::Database& database, std::string instance) : database_(database), instance_(std::move(instance)) {}

  // Takes or takes over the lease when it is free, expired or ours. nullopt when another instance holds it, or the
  // debate is to wait after a failure.
  std::optional<Lease> acquire(const std::string& debate_id, std::chrono::milliseconds duration);
  void release(const Lease& lease);
  // Of this instance, in one statement.
  void releaseAll();
  // Everybody's. For who alone can use the database: whoever held them is dead, and what they ran goes on at once.
  void releaseEverybodys();
  // Released after nothing went wrong, and taken by nobody for that long.
  void releaseFor(const Lease& lease, std::chrono::milliseconds pause);
  // Released, and taken by nobody for that long.
  void releaseAfterFailure(const Lease& lease, std::chrono::milliseconds pause);
  struct Renewed {
    std::string debate_id;
    std::int64_t epoch = 0;
    bool cancel_requested = false;
    bool pause_requested = false;
  };
  // Those that run here, in one statement; what is not among the renewed is lost. A lease of ours that nobody runs,
  // such as one whose acquiring was answered to nobody, is left to run out.
  std::vector<Renewed> renew(const std::vector<std::string>& debates, std::chrono::milliseconds duration);
  // Debates that wait for somebody to run them. Fair between owners: who has fewest running comes first, then the
  // oldest.
  std::vector<std::string> waiting(std::int64_t limit);

 private:
  database::Database& database_;
  std::string instance_;
};

}  // namespace aragora::store
