// A daemon on restored data: `aragora serve` of this very program, on loopback, with nothing of the live configuration
// but the encryption key, and a visitor for it.
#pragma once

#include "common/base/subprocess.h"
#include "common/database/connection.h"
#include "common/drill/visitor.h"

namespace aragora::drill {

class Instance {
 public:
  // Starts it on `database`; `scratch` becomes its state directory.
  Instance(const database::Target& database, const Secret& encryption_key, const fs::path& scratch);
  // Throws Error(CheckFailed) with the daemon's own words when it ends or is not ready in time.
  void waitUntilReady(Deadline deadline);
  const Visitor& visitor() const { return visitor_; }

 private:
  std::uint16_t port_;
  Visitor visitor_;
  std::unique_ptr<Subprocess> process_;
};

}  // namespace aragora::drill
