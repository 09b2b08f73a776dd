// This process as the operating system sees it. Any thread.
#pragma once

#include "common/metrics/metrics.h"

namespace aragora::lifecycle {

void collectProcessMetrics(metrics::Registry& registry);

}  // namespace aragora::lifecycle
