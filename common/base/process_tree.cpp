#include "common/base/process_tree.h"

#include <poll.h>
#include <signal.h>

#include <map>
#include <sstream>
#include <vector>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/interrupt.h"

extern "C" {  // the header of glibc 2.36 does not say so itself
#include <sys/pidfd.h>
}

namespace aragora {

namespace {
constexpr int kRounds = 20;  // a stopped parent starts nothing more: each level of the tree takes one
constexpr std::size_t kListing = 1U << 20;

// Each thread has the children that it started: proc(5).
std::vector<pid_t> childrenOf(pid_t parent) {
  std::vector<pid_t> found;
  std::error_code ignored;
  for (const auto& thread : fs::directory_iterator(fs::path("/proc") / std::to_string(parent) / "task", ignored)) {
    try {
      std::istringstream listed(readFileIfExists(thread.path() / "children", kListing).value_or(""));
      for (pid_t child = 0; listed >> child;) found.push_back(child);
    } catch (const std::exception&) {
      // A thread that has just ended has none.
    }
  }
  return found;
}

// A descriptor stands for this process even when its number is given to another one.
using Processes = std::map<pid_t, Fd>;

void stopBelow(pid_t parent, Processes& stopped) {
  for (const pid_t child : childrenOf(parent)) {
    if (stopped.count(child) != 0) continue;
    Fd process(::pidfd_open(child, 0));
    if (!process.valid()) continue;  // it has ended
    ::pidfd_send_signal(process.get(), SIGSTOP, nullptr, 0);
    stopped.emplace(child, std::move(process));
  }
}

Processes stopDescendants(pid_t root) {
  Processes stopped;
  for (int round = 0; round < kRounds; ++round) {
    const auto before = stopped.size();
    std::vector<pid_t> parents{root};
    for (const auto& [pid, process] : stopped) parents.push_back(pid);
    for (const pid_t parent : parents) stopBelow(parent, stopped);
    if (stopped.size() == before) break;
  }
  return stopped;
}

// A descriptor of a process is readable once it has ended.
void awaitEnd(const Processes& processes, Deadline deadline) {
  for (const auto& [pid, process] : processes) {
    pollfd entry{process.get(), POLLIN, 0};
    ::poll(&entry, 1, static_cast<int>(remaining(deadline).count()));
  }
}
}  // namespace

void killTree(pid_t root, std::chrono::milliseconds patience) {
  const interrupt::Shield shield;  // reading /proc is not to end early when a signal is why all this happens
  ::kill(-root, SIGSTOP);
  const auto descendants = stopDescendants(root);
  ::kill(-root, SIGKILL);
  for (const auto& [pid, process] : descendants) ::pidfd_send_signal(process.get(), SIGKILL, nullptr, 0);
  awaitEnd(descendants, deadlineIn(patience));
}

}  // namespace aragora
