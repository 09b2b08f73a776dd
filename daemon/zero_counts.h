// Counters that exist before anything was counted, so that the first time is an increase to whoever watches.
#pragma once

#include "common/metrics/metrics.h"
#include "daemon/providers/provider.h"
#include "daemon/web/router.h"

namespace aragora::daemon {

void beginAtZero(metrics::Registry& registry, const web::Router& router);
void beginAtZero(metrics::Registry& registry, const providers::Providers& providers);
void beginAtZero(metrics::Registry& registry);

}  // namespace aragora::daemon
