// The daemon's composition root: everything `aragora serve` is made of is put together here. The only header of daemon/
// that cli/ includes.
#pragma once

#include <functional>

#include "common/config/loader.h"

namespace aragora::daemon {

// Runs until SIGTERM or SIGINT; answers the exit status. `load` reads the configuration anew (start and SIGHUP).
// Refuses to start when a start-up check fails: 78 for configuration, 69 for a dependency.
int serve(const std::function<config::Loaded()>& load);

}  // namespace aragora::daemon
