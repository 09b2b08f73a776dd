// A process with all that it started, whatever process groups and sessions these have made for themselves: each process
// of a PostgreSQL server has its own, and notices only now and then that its postmaster is gone.
#pragma once

#include <sys/types.h>

#include <chrono>

namespace aragora {

// Stops the tree first, so that nothing in it starts more, then sends SIGKILL and waits at most `patience` until the
// descendants are gone. `root` itself is the caller's to wait for. Whoever has left the tree (its parent has ended)
// is not found. Any thread.
void killTree(pid_t root, std::chrono::milliseconds patience = std::chrono::milliseconds(2000));

}  // namespace aragora
