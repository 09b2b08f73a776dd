// Private to common/migrate: mutual exclusion between runs, held from construction to destruction. PostgreSQL: an
// advisory lock of a transaction on a connection of its own. SQLite: nothing, BEGIN IMMEDIATE is the lock.
#pragma once

#include <functional>

#include "common/database/connection.h"

namespace aragora::migrate {

class RunLock {
 public:
  // Waits up to `wait`, telling `say` once who holds it, then Error(Busy).
  RunLock(const database::Target& target, std::chrono::milliseconds wait,
          const std::function<void(const std::string&)>& say);
  // Throws when the connection that holds it is gone.
  void stillHeld();

 private:
  bool tryLock();
  std::string holder();
  std::unique_ptr<database::Connection> connection_;
  std::optional<database::Transaction> transaction_;
};

// `base` and up to as much again.
std::chrono::milliseconds jitter(std::chrono::milliseconds base);

}  // namespace aragora::migrate
