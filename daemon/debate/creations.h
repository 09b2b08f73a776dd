// New debates, durable one transaction for all that are created at the same moment: the audit log takes one writer at a
// time, and alone each of them would wait for the commits of the others. Whoever finds nobody writing writes for all
// who wait. Thread-safe.
#pragma once

#include <condition_variable>
#include <mutex>

#include "common/audit/audit.h"
#include "common/store/debates.h"

namespace aragora::debate {

// How many debates one account may have; 0 is no limit.
struct Quota {
  std::int64_t per_day = 0;
  std::int64_t at_once = 0;
  bool limits() const { return per_day > 0 || at_once > 0; }
};

class Creations {
 public:
  Creations(database::Database& database, const store::Debates& debates, const crypto::Keyring& keyring)
      : database_(database), debates_(debates), keyring_(keyring) {}

  using Key = std::optional<store::Debates::Idempotency>;
  // Durable when it returns, with its audit entry. What was stored for the key before, when there was something.
  // Error(RateLimited) where its owner has as many as `quota` lets them, counted over all instances.
  std::optional<store::Replay> create(const store::Debate& debate, const Key& key, const audit::Entry& entry,
                                      const Quota& quota = {});

 private:
  struct Job {
    const store::Debate& debate;
    const Key& key;
    const audit::Entry& entry;
    const Quota& quota;
    std::optional<store::Replay> replay;
    std::exception_ptr failure;
    bool done = false;
  };
  void write(const std::vector<Job*>& jobs);
  void writeTogether(const std::vector<Job*>& jobs);
  static void takeTurns(database::Connection& connection, const std::vector<Job*>& jobs);
  static void requireRoom(database::Connection& connection, const std::string& owner, const Quota& quota);

  database::Database& database_;
  const store::Debates& debates_;
  const crypto::Keyring& keyring_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Job*> waiting_;
  bool writing_ = false;
};

}  // namespace aragora::debate
