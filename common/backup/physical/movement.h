// Whether a server that answers nobody still works: what its processes compute, read and write (/proc, Linux). One
// owner, one thread.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace aragora::backup {

class Movement {
 public:
  explicit Movement(pid_t server) : server_(server) {}
  // Since it was last true: noticeably more than the housekeeping of a server that waits.
  bool noticed();

 private:
  struct Work {
    std::uint64_t ticks = 0;  // of 10 ms
    std::uint64_t bytes = 0;
  };
  Work workOf(pid_t process) const;
  Work total() const;
  pid_t server_;
  Work last_;
};

}  // namespace aragora::backup
