#include "common/checklist/agent_latency.h"

#include <cstdlib>

#include "common/base/text.h"

namespace aragora::checklist {

namespace {
constexpr std::string_view kBucket = "aragora_agent_latency_seconds_bucket{";
constexpr double kShare = 0.95;

struct Calls {
  double all = 0;
  double in_time = 0;  // by the widest bucket within the target
  double widest = 0;
};

double targetOf(std::string_view agent) { return startsWith(agent, "openrouter") ? 45 : 30; }
bool answersOffline(std::string_view agent) { return startsWith(agent, "demo") || startsWith(agent, "sim"); }

// The value of a label; empty when there is none.
std::string labelOf(std::string_view line, std::string_view name) {
  const auto begin = line.find(fmt::format("{}=\"", name));
  if (begin == std::string_view::npos) return {};
  const auto from = begin + name.size() + 2;
  return std::string(line.substr(from, line.find('"', from) - from));
}
}  // namespace

Piece agentLatency(const std::string& metrics) {
  std::map<std::string, Calls> by_agent;
  for (const auto& line : split(metrics, '\n')) {
    if (!startsWith(line, kBucket)) continue;
    const auto agent = labelOf(line, "agent");
    const auto limit = labelOf(line, "le");
    const auto count = std::strtod(line.c_str() + line.rfind(' '), nullptr);
    if (agent.empty() || answersOffline(agent)) continue;
    auto& calls = by_agent[agent];
    if (limit == "+Inf") {
      calls.all = count;
    } else if (const auto seconds = std::strtod(limit.c_str(), nullptr);
               seconds <= targetOf(agent) && seconds >= calls.widest) {
      calls.widest = seconds;
      calls.in_time = count;
    }
  }
  std::vector<std::string> seen;
  bool slow = false;
  for (const auto& [agent, calls] : by_agent) {
    if (calls.all <= 0) continue;
    slow |= calls.in_time < kShare * calls.all;
    seen.push_back(fmt::format("{}: {} of {} within {:.0f} s", printable(agent, 60), calls.in_time,
                               counted(static_cast<std::int64_t>(calls.all), "call"), calls.widest));
  }
  if (seen.empty()) return {State::CouldNotVerify, "no provider was asked since the daemon started", "hold a debate"};
  return {slow ? State::Failed : State::Proved, join(seen, ", "),
          slow ? "choose faster models, or lower providers.max_output_tokens" : ""};
}

}  // namespace aragora::checklist
