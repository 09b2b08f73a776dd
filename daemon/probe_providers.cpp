#include <thread>

#include "common/base/interrupt.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "daemon/assembly_options.h"
#include "daemon/server.h"

namespace aragora::daemon {

namespace key = config::key;

namespace {
using providers::FailureKind;

std::string fixFor(const config::Config& config, const config::ProviderInfo& info, FailureKind kind) {
  switch (kind) {
    case FailureKind::Credential:
      return fmt::format("look at {}, and at {} ({}): the key is refused, or has not this model",
                         config::findSetting(info.api_key)->environment.front(), info.model, config.text(info.model));
    case FailureKind::Money:
      return "its account has no credit, or has reached a limit of spending: see its console";
    case FailureKind::Unreachable:
      return fmt::format("look at {} ({}), the name service, proxies and firewalls", info.base_url,
                         redact(config.text(info.base_url)));
    case FailureKind::Throttled:
      return "it asks for fewer requests: try later, or raise the limit in its console";
    case FailureKind::Request:
      return fmt::format("look at {} ({})", info.model, config.text(info.model));
    case FailureKind::Malformed:
      return fmt::format("look at {} ({}): another kind of server seems to answer there", info.base_url,
                         redact(config.text(info.base_url)));
    default:
      return "see its status page, and try again later";
  }
}

// An answer that says nothing in one token is one.
bool answers(FailureKind kind) { return kind == FailureKind::Empty || kind == FailureKind::Refused; }

ProbedProvider probe(const providers::Providers& providers, const config::Config& config,
                     const config::ProviderInfo& info, Deadline deadline) {
  ProbedProvider result;
  result.provider = std::string(info.name);
  const auto began = std::chrono::steady_clock::now();
  try {
    const auto seat = providers.find(result.provider, result.why);
    if (!seat) return result;
    result.model = seat->model;
    (void)seat->provider->ask({.agent = result.provider,
                               .model = seat->model,
                               .system = "Answer with one word.",
                               .user = "{\"task\":\"Say yes.\"}",
                               .deadline = deadline,
                               .max_output_tokens = 1});
    result.answered = true;
  } catch (const providers::Failure& failure) {
    result.answered = answers(failure.kind());
    if (!result.answered) {
      result.why = printable(redact(failure.what()), 300);
      result.fix = fixFor(config, info, failure.kind());
    }
  } catch (const Error& error) {
    result.why = printable(redact(error.what()), 300);
    result.fix = error.hint();
  }
  result.latency = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
  return result;
}
}  // namespace

std::vector<ProbedProvider> probeProviders(const config::Config& config, std::chrono::seconds within) {
  auto options = providersOptions(config);
  options.times.total = within;
  options.times.first_byte = within;
  options.retries = 0;
  options.fallback = false;
  options.max_output_tokens = 1;
  const providers::Providers providers(std::move(options));
  const auto deadline = deadlineIn(within);
  const auto asked = config::askedProviders(config);
  std::vector<ProbedProvider> results(asked.size());
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    for (const auto& info : config::networkProviders()) {
      if (info.provider != asked[i]) continue;
      threads.emplace_back([&results, &providers, &config, &info, i, deadline, stop = interrupt::minded()] {
        const interrupt::Minding minding(stop);
        results[i] = probe(providers, config, info, deadline);
      });
    }
  }
  threads.clear();
  interrupt::check();
  return results;
}

}  // namespace aragora::daemon
