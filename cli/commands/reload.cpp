#include <unistd.h>

#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "common/base/owner.h"
#include "common/base/text.h"
#include "common/deployment/control_socket.h"
#include "common/net/failure.h"
#include "common/net/stream.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::string> socket;
  std::optional<std::int64_t> timeout;
};
constexpr std::int64_t kSeconds = 60;
constexpr std::size_t kAnswerLimit = 4U << 20;

[[noreturn]] void nobodyThere(const fs::path& socket) {
  throw Error(Code::Unreachable, fmt::format("no daemon runs here: nobody listens at {}", socket.string()),
              "start it with systemctl start aragora; one that runs elsewhere is named with --socket");
}

// Whoever types it has the rights, and perhaps another environment.
std::string lineForOwner(const fs::path& socket, bool named) {
  const auto line = lineForOwnerOf(socket);
  return named || !startsWith(line, "sudo") ? line : fmt::format("{} --socket {}", line, socket.string());
}

// The daemon's whole answer; empty when it ended without one.
std::string ask(const fs::path& socket, bool named, std::chrono::seconds span) {
  if (!fileExists(socket)) nobodyThere(socket);
  if (::access(socket.c_str(), W_OK) != 0 && errno == EACCES)
    throw Error(Code::Permission, fmt::format("only its own user and root may ask the daemon ({})", socket.string()),
                fmt::format("type: {}", lineForOwner(socket, named)));
  const net::Limits limits{deadlineIn(span), span};
  std::string answer;
  try {
    net::Stream stream({.path = socket.string()}, limits);
    stream.write(toJson(json::object{{"actor", operatorName()}}) + "\n", limits);
    char buffer[4096];
    while (const auto got = stream.read(buffer, sizeof buffer, limits)) {
      answer.append(buffer, got);
      if (answer.back() == '\n' || answer.size() > kAnswerLimit) break;
    }
  } catch (const net::Failure& failure) {
    if (failure.cause() == net::Cause::NotReached) nobodyThere(socket);
    if (failure.cause() == net::Cause::Busy)
      throw Error(
          Code::CouldNotVerify,
          fmt::format("the daemon is busy: more than it takes asked it for {}, and it was not reloaded for this",
                      counted(span.count(), "second")),
          "try again, or give it more time with --timeout");
    if (failure.cause() != net::Cause::TooLate) return {};
    throw Error(Code::CouldNotVerify,
                fmt::format("the daemon did not answer within {}", counted(span.count(), "second")),
                "what it did is in its log: journalctl -u aragora");
  }
  return answer;
}

Error errorOf(const json::object& told) {
  const auto name = jsonTextOr(told, "code", "");
  auto code = Code::Config;
  for (const auto& one : codeTable()) {
    if (one.name == name) code = one.code;
  }
  Error error(code, fmt::format("nothing was changed: {}", jsonTextOr(told, "message", "")),
              jsonTextOr(told, "hint", ""));
  if (const auto* details = told.if_contains("details")) error.with(*details);
  return error;
}

std::string listed(const json::object& told, std::string_view key) {
  std::vector<std::string> texts;
  if (const auto* array = jsonArray(told, key)) {
    for (const auto& one : *array) {
      if (const auto* text = one.if_string()) texts.emplace_back(*text);
    }
  }
  return join(texts, ", ");
}

fs::path whereToAsk(const config::Loaded& loaded) {
  return deployment::controlSocketToAsk(loaded.config, loaded.config_file);
}

int reload(Context& context, const Options& options) {
  const auto seconds = options.timeout.value_or(kSeconds);
  if (seconds < 1 || seconds > 3600) throw Error(Code::Usage, "--timeout takes 1 to 3600 seconds");
  const auto socket = options.socket ? fs::path(*options.socket) : whereToAsk(context.loaded(false));
  const auto value = tryParseJson(ask(socket, options.socket.has_value(), std::chrono::seconds(seconds)));
  if (!value || !value->is_object())
    throw Error(Code::Unreachable, "the daemon ended before it answered", "see why: journalctl -u aragora");
  const auto& told = value->as_object();
  if (const auto* error = jsonObject(told, "error")) throw errorOf(*error);
  const auto& out = context.out();
  auto document = told;
  document["socket"] = socket.string();
  out.document(std::move(document));
  const auto applied = listed(told, "applied");
  out.marked(Mark::Ok, applied.empty() ? "reloaded: no setting that a reload applies has another value"
                                       : fmt::format("reloaded, now in effect: {}", applied));
  if (const auto* warnings = jsonArray(told, "warnings")) {
    for (const auto& one : *warnings) {
      if (const auto* text = one.if_string()) out.marked(Mark::Warning, std::string(*text));
    }
  }
  if (const auto later = listed(told, "after_restart"); !later.empty())
    out.marked(Mark::Warning, fmt::format("these take effect after a restart only: {}", later));
  if (const auto old = listed(told, "as_at_start"); !old.empty())
    out.marked(Mark::Info,
               fmt::format("handed over by systemd, as old as the start; restart to take new ones: {}", old));
  return 0;
}
}  // namespace

void declareReload(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.option("--socket", options->socket, "The daemon's control socket (default: the one beside this configuration)",
              file())
      .option("--timeout", options->timeout, "Seconds to wait for the daemon (default 60)");
  line.run([options](Context& context) { return reload(context, *options); });
}

}  // namespace aragora::cli
