// What people and dead-man switches are told of a command that runs where nobody looks: from a timer, cron, a
// container. Who typed it at a terminal sees by himself that it failed.
#pragma once

#include <functional>

#include "cli/context.h"
#include "common/notify/options.h"

namespace aragora::cli {

struct Job {
  notify::Kind kind;
  std::string what;                       // "aragora backup create"
  std::optional<notify::Channel> ping{};  // its dead-man switch
  bool pings_success = true;              // otherwise only that it failed
};

// Runs it and answers its status, or throws what it throws, once everybody was told. What could not be told is a
// warning beside the failure itself, never in the place of it. Nothing is told of a run that was interrupted, met
// another one, or was called wrongly.
int watched(Context& context, const Job& job, const std::function<int()>& work);

}  // namespace aragora::cli
