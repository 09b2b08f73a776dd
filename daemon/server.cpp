#include "daemon/server.h"

namespace aragora::daemon {
int serve(const std::function<config::Loaded()>&) { return 70; }
}
