// What becomes of providers' circuits, in the words of others: hints to the other instances, outages that somebody is
// notified of. No state of its own.
#pragma once

#include <vector>

#include "daemon/cluster/hint.h"
#include "daemon/lifecycle/problem_watch.h"
#include "daemon/providers/provider.h"

namespace aragora::daemon {

cluster::Hint hintOf(const providers::BreakerNews& news);
// Of another instance. What is no hint of a circuit here is passed by.
void hear(const cluster::Hint& hint, const providers::Providers& providers);
std::vector<lifecycle::Outage> outagesOf(const providers::Providers& providers);

}  // namespace aragora::daemon
