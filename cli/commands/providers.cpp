// Who can be asked, and how they do: the configuration, what the running daemon knows of them, and, when it is asked
// for, what each says to one token.
#include <unistd.h>

#include "cli/commands/commands.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/config/agents.h"
#include "common/deployment/control_socket.h"
#include "common/net/failure.h"
#include "common/net/stream.h"
#include "daemon/server.h"

namespace aragora::cli {

namespace {
struct Options {
  bool probe = false;
  std::optional<std::int64_t> timeout;
  std::optional<std::string> socket;
};
constexpr std::int64_t kSeconds = 30;
constexpr std::chrono::seconds kDaemonPatience{3};
constexpr std::size_t kAnswerLimit = 4U << 20;

// What the daemon that runs here knows of the providers, or why nothing is known.
struct Told {
  std::string daemon = "not running";
  json::array breakers{};

  const json::object* of(std::string_view provider) const {
    for (const auto& one : breakers) {
      const auto* object = one.if_object();
      if (object != nullptr && jsonTextOr(*object, "provider", "") == provider) return object;
    }
    return nullptr;
  }
};

std::string answerAt(const fs::path& socket) {
  const net::Limits limits{deadlineIn(kDaemonPatience), kDaemonPatience};
  net::Stream stream({.path = socket.string()}, limits);
  stream.write(toJson(json::object{{"ask", "providers"}}) + "\n", limits);
  std::string answer;
  char buffer[4096];
  while (const auto got = stream.read(buffer, sizeof buffer, limits)) {
    answer.append(buffer, got);
    if (answer.back() == '\n' || answer.size() > kAnswerLimit) break;
  }
  return answer;
}

Told askDaemon(const fs::path& socket) {
  Told told;
  if (!fileExists(socket)) return told;
  if (::access(socket.c_str(), W_OK) != 0 && errno == EACCES) {
    told.daemon = "not known: only its own user and root may ask the daemon";
    return told;
  }
  try {
    const auto value = tryParseJson(answerAt(socket));
    const auto* breakers = value && value->is_object() ? jsonArray(value->as_object(), "breakers") : nullptr;
    told.daemon = breakers != nullptr ? "running" : "not known: the daemon is of another version";
    if (breakers != nullptr) told.breakers = *breakers;
  } catch (const net::Failure& failure) {
    if (failure.cause() != net::Cause::NotReached)
      told.daemon = fmt::format("not known: the daemon does not answer ({})", failure.what());
  }
  return told;
}

std::string circuitText(const json::object& breaker) {
  auto text = fmt::format("circuit {}", jsonTextOr(breaker, "state", "?"));
  if (const auto forced = jsonTextOr(breaker, "forced", "none"); forced != "none")
    text += " (held by an administrator)";
  if (const auto blocked = jsonTextOr(breaker, "blocked", ""); !blocked.empty()) text += ", not asked: " + blocked;
  if (const auto latency = jsonIntegerOr(breaker, "last_latency_ms", -1); latency >= 0)
    text += fmt::format(", last answer took {} ms", latency);
  if (const auto failure = jsonTextOr(breaker, "last_failure", ""); !failure.empty())
    text += fmt::format(", last failure: {}", printable(failure, 120));
  return text;
}

json::object toDocument(const daemon::ProbedProvider& probed) {
  return {{"ok", probed.answered},
          {"model", probed.model},
          {"latency_ms", probed.latency.count()},
          {"error", probed.answered ? json::value(nullptr) : json::value(probed.why)},
          {"fix", probed.answered ? json::value(nullptr) : json::value(probed.fix)}};
}

void show(const Output& out, const daemon::ProbedProvider& probed) {
  if (probed.answered)
    out.marked(Mark::Ok, fmt::format("{} answered in {} ms", probed.model, probed.latency.count()));
  else
    out.marked(Mark::Failure, fmt::format("{}: {}\n    → {}", probed.provider, probed.why, probed.fix));
}

// One provider of the network: a line, a member of the document, and whether it failed a probe.
json::object describe(const Output& out, const config::Config& config, const config::ProviderInfo& info,
                      const Told& told, const std::vector<daemon::ProbedProvider>& probed) {
  const auto why_not = config::whyNotAsked(config, info.provider);
  const auto* breaker = told.of(info.name);
  json::object document{{"provider", info.name},
                        {"configured", why_not.empty()},
                        {"why_not", why_not.empty() ? json::value(nullptr) : json::value(why_not)},
                        {"model", config.text(info.model)},
                        {"base_url", redact(config.text(info.base_url))},
                        {"breaker", breaker != nullptr ? json::value(*breaker) : nullptr},
                        {"probe", nullptr}};
  if (!why_not.empty()) {
    out.marked(Mark::Info, fmt::format("{}: {}", info.name, why_not));
    return document;
  }
  const auto state = breaker != nullptr ? circuitText(*breaker) : fmt::format("daemon {}", told.daemon);
  const bool usable = breaker == nullptr || jsonFlagOr(*breaker, "usable", true);
  out.marked(usable ? Mark::Info : Mark::Warning, fmt::format("{}: {} at {}; {}", info.name, config.text(info.model),
                                                              redact(config.text(info.base_url)), state));
  for (const auto& one : probed) {
    if (one.provider != info.name) continue;
    show(out, one);
    document["probe"] = toDocument(one);
  }
  return document;
}

int list(Context& context, const Options& options) {
  const auto seconds = options.timeout.value_or(kSeconds);
  if (seconds < 1 || seconds > 600) throw Error(Code::Usage, "--timeout takes 1 to 600 seconds");
  const auto& config = context.config();
  const auto socket =
      options.socket ? fs::path(*options.socket) : deployment::controlSocketToAsk(config, context.loaded().config_file);
  const auto told = askDaemon(socket);
  std::vector<daemon::ProbedProvider> probed;
  if (options.probe) probed = daemon::probeProviders(config, std::chrono::seconds(seconds));
  const auto& out = context.out();
  json::array providers;
  for (const auto& info : config::networkProviders()) providers.push_back(describe(out, config, info, told, probed));
  const auto no_demo = config::whyNotAsked(config, config::Provider::Demo);
  out.marked(Mark::Info,
             no_demo.empty() ? "demo: answers offline, the same every time" : fmt::format("demo: {}", no_demo));
  providers.push_back(json::object{{"provider", "demo"},
                                   {"configured", no_demo.empty()},
                                   {"why_not", no_demo.empty() ? json::value(nullptr) : json::value(no_demo)},
                                   {"model", "demo"},
                                   {"base_url", nullptr},
                                   {"breaker", nullptr},
                                   {"probe", nullptr}});
  const bool nobody = config::askedProviders(config).empty();
  if (options.probe && nobody)
    out.marked(Mark::Warning,
               "no provider is configured: nobody was asked\n    → set ANTHROPIC_API_KEY or another key");
  const bool failed = options.probe && (nobody || std::any_of(probed.begin(), probed.end(),
                                                              [](const auto& one) { return !one.answered; }));
  out.document({{"daemon", told.daemon}, {"probed", options.probe}, {"ok", !failed}, {"providers", providers}});
  return failed ? 1 : 0;
}
}  // namespace

void declareProviders(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.flag("--probe", options->probe, "Ask each for one token, which costs next to nothing")
      .option("--timeout", options->timeout, "Seconds that each may take (default 30)")
      .option("--socket", options->socket, "The daemon's control socket (default: the one beside this configuration)",
              file());
  line.run([options](Context& context) { return list(context, *options); });
}

}  // namespace aragora::cli
