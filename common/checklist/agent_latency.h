// How long the agents took, read from the daemon's metrics. Pure.
#pragma once

#include <string>

#include "common/checklist/facts.h"

namespace aragora::checklist {

// 95 % of the calls of each provider within its target: 30 s, of OpenRouter 45. What answers offline is none.
Piece agentLatency(const std::string& metrics);

}  // namespace aragora::checklist
