#include <unistd.h>

#include <algorithm>

#include "cli/bundle.h"
#include "cli/commands/commands.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/config/hidden.h"
#include "common/net/http_client.h"

namespace aragora::cli {

namespace {
namespace key = config::key;

struct Options {
  std::optional<std::string> output;
  std::vector<std::string> logs;
};

constexpr std::chrono::seconds kWhole{90};
constexpr std::chrono::seconds kPatience{20};  // with one of our commands
constexpr std::chrono::seconds kQuick{10};     // with a program of the system
constexpr std::chrono::seconds kDaemon{3};
constexpr std::size_t kMostOfAnswer = 4U << 20;

// What the bundle holds of our own commands, each as it would be typed.
struct Said {
  const char* file;
  std::vector<std::string> words;
};
const std::vector<Said>& ourCommands() {
  static const std::vector<Said> all = {
      {"version.json", {"version"}},        {"settings.json", {"config", "show"}},
      {"checks.json", {"validate-env"}},    {"migrations.json", {"migrate", "status"}},
      {"backups.json", {"backup", "list"}}, {"backup-status.json", {"backup", "status"}},
      {"drills.json", {"drill", "list"}},   {"keys.json", {"key", "status"}},
      {"notify.json", {"notify", "status"}}};
  return all;
}

constexpr std::size_t kMostUnits = 60;
// Also those that systemd has not loaded.
constexpr const char* kUnits[] = {"aragora.service",        "aragora.socket",      "aragora-migrate.service",
                                  "aragora-backup.service", "aragora-wal.service", "aragora-drill.service",
                                  "aragora-backup.timer",   "aragora-drill.timer", "aragora-validate.service",
                                  "aragora-validate.timer"};
// Not Environment=, which is where people put secrets.
constexpr const char* kProperties =
    "-pId,LoadState,ActiveState,SubState,Result,UnitFileState,FragmentPath,DropInPaths,ExecMainCode,ExecMainStatus,"
    "NRestarts,MainPID,ActiveEnterTimestamp,InactiveEnterTimestamp,MemoryCurrent,TasksCurrent,LastTriggerUSec,"
    "NextElapseUSecRealtime,InvocationID";

// Whatever they look like: here a word too many that is hidden is no harm.
void hideSecrets(const config::Config& config) {
  for (const auto& setting : config::catalogue()) {
    if (!setting.secret) continue;
    for (const auto& candidate : config.candidates(setting.key))
      config::hideSecret(candidate.text.reveal(), Looks::Any);
  }
}

std::vector<std::string> globalWords(const GlobalOptions& global) {
  std::vector<std::string> words;
  const auto add = [&](const char* name, const std::optional<std::string>& value) {
    if (value) words.insert(words.end(), {name, *value});
  };
  add("--config", global.config_file);
  add("--env-file", global.env_file);
  add("--unit", global.unit);
  for (const auto& one : global.settings) words.insert(words.end(), {"--set", one});
  return words;
}

void addCommands(Bundle& bundle, const GlobalOptions& global) {
  const auto binary = fs::read_symlink("/proc/self/exe").string();
  for (const auto& one : ourCommands()) {
    std::vector<std::string> argv{binary};
    argv.insert(argv.end(), one.words.begin(), one.words.end());
    const auto given = globalWords(global);
    argv.insert(argv.end(), given.begin(), given.end());
    argv.emplace_back("--json");
    bundle.addOutput(one.file, fmt::format("aragora {} --json", join(one.words, " ")), argv, kPatience);
  }
}

std::string ask(const net::HttpClient& client, const net::Url& url, const Secret& token, int& status) {
  net::Request request{.url = url, .limits = {deadlineIn(kDaemon), kDaemon, {}}};
  if (!token.empty()) request.headers.emplace_back("Authorization", "Bearer " + token.reveal());
  std::string text;
  const auto head =
      client.exchange(request, {nullptr, [&](std::string_view bytes) {
                                  text += bytes.substr(0, kMostOfAnswer - std::min(kMostOfAnswer, text.size()));
                                }});
  status = head.status;
  return text;
}

// What the daemon says of itself, when there is one.
void addDaemon(Bundle& bundle, const config::Config& config) {
  // Nobody else on that port gets the token; and one that has expired keeps nothing back that would show it.
  const net::HttpClient client(
      {.tls = {.pinned = config.speaksTls() ? config.text(key::kTlsCertificate) : std::string()}});
  const auto metrics = config.isSet(key::kMetricsListen) ? key::kMetricsListen : key::kListen;
  struct Question {
    const char* file;
    const char* path;
    std::string_view setting;
    bool with_token = false;
  };
  for (const auto& one :
       {Question{"metrics.txt", "/metrics", metrics, true}, Question{"health.json", "/api/health", key::kListen},
        Question{"ready.json", "/api/ready", key::kListen}}) {
    std::string why = "the daemon has no address that could be asked";
    bool taken = false;
    for (const auto& address : config.addresses(one.setting)) {
      if (bundle.late()) why = "there was no time left";
      if (taken || address.local() || bundle.late()) continue;
      const bool any = address.host == "0.0.0.0" || address.host == "::";
      const net::Url url{address.plain || !config.speaksTls() ? "http" : "https",
                         {},
                         any ? "127.0.0.1" : address.host,
                         address.port,
                         one.path,
                         {}};
      try {
        int status = 0;
        const auto token = one.with_token ? config.secret(key::kMetricsToken) : Secret();
        auto text = ask(client, url, token, status);
        bundle.add(one.file, fmt::format("GET {} of {}", one.path, address.text()), std::move(text), status);
        taken = true;
      } catch (const Error& error) {
        if (error.code() == Code::Interrupted) throw;
        why = error.hint().empty() ? error.what() : fmt::format("{} → {}", error.what(), error.hint());
      }
    }
    if (!taken) bundle.miss(one.file, fmt::format("GET {}", one.path), why);
  }
}

// Our own, and what systemd has of instances: aragora@8081.service, aragora-notify@aragora-backup.service.service.
std::vector<std::string> ourUnits(const Bundle& bundle) {
  std::vector<std::string> units(std::begin(kUnits), std::end(kUnits));
  if (bundle.late()) return units;
  try {
    const auto listed =
        runCommand({{"systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager", "aragora*"}},
                   bundle.within(kQuick));
    for (const auto& line : split(listed.output, '\n')) {
      const auto unit = line.substr(0, line.find(' '));
      const bool kind = endsWith(unit, ".service") || endsWith(unit, ".timer") || endsWith(unit, ".socket");
      const bool known = std::find(units.begin(), units.end(), unit) != units.end();
      const bool ours = startsWith(unit, "aragora") && unit.find('/') == std::string::npos;
      if (kind && ours && !known && units.size() < kMostUnits) units.push_back(unit);
    }
  } catch (const Error& error) {
    // What asks systemd next says why it does not answer.
    if (error.code() == Code::Interrupted) throw;
  }
  return units;
}

void addUnits(Bundle& bundle) {
  const auto units = ourUnits(bundle);
  std::vector<std::string> show{"systemctl", "show", "--no-pager", kProperties};
  show.insert(show.end(), units.begin(), units.end());
  bundle.addOutput("units.txt", "systemctl show", show, kQuick);
  bundle.addOutput("timers.txt", "systemctl list-timers",
                   {"systemctl", "list-timers", "--all", "--no-pager", "aragora*"}, kQuick);
  for (const auto& unit : units) {
    if (endsWith(unit, ".timer") || endsWith(unit, ".socket")) continue;
    bundle.addOutput(fmt::format("logs/{}.txt", unit), fmt::format("journalctl -u {}", unit),
                     {"journalctl", "--no-pager", "--quiet", "-o", "short-iso", "-n", "3000", "-u", unit}, kQuick);
  }
}

void addMachine(Bundle& bundle) {
  for (const auto& [name, path] : {std::pair{"machine/os-release.txt", "/etc/os-release"},
                                   {"machine/kernel.txt", "/proc/version"},
                                   {"machine/memory.txt", "/proc/meminfo"},
                                   {"machine/load.txt", "/proc/loadavg"},
                                   {"machine/pressure-io.txt", "/proc/pressure/io"}})
    bundle.addFile(name, path);
  bundle.addOutput("machine/disks.txt", "df", {"df", "-PT", "-x", "tmpfs", "-x", "devtmpfs"}, kQuick);
  bundle.addOutput("machine/clock.txt", "timedatectl show", {"timedatectl", "show"}, kQuick);
}

fs::path archiveFor(const Options& options) {
  if (options.output) return fs::absolute(*options.output);
  return fs::current_path() / fmt::format("aragora-support-{}.tar.gz", toCompactIso(nowMicros()));
}

int makeBundle(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto archive = archiveFor(options);
  std::error_code ignored;
  if (fs::exists(archive, ignored))
    throw Error(Code::CannotCreate, fmt::format("{} exists", archive.string()), "name another file with --output");
  const auto& loaded = context.loaded();  // what is wrong with it is shown in it; its secrets are known from here on
  hideSecrets(loaded.config);
  Bundle bundle(kWhole);
  addCommands(bundle, context.global());
  addDaemon(bundle, loaded.config);
  addUnits(bundle);
  for (std::size_t i = 0; i < options.logs.size(); ++i)
    bundle.addLog(fmt::format("logs/{}-{}", i + 1, fs::path(options.logs[i]).filename().string()), options.logs[i]);
  addMachine(bundle);
  bundle.write(archive);
  for (const auto& piece : bundle.pieces()) {
    if (piece.missing.empty())
      out.marked(Mark::Ok, fmt::format("{} ({})", piece.name, humanBytes(piece.bytes)));
    else
      out.marked(Mark::Info, fmt::format("{} is not in it: {}", piece.name, piece.missing));
  }
  out.line(
      fmt::format("  {} is on this machine only, and secrets are taken out of it; look into it before you send it: "
                  "tar -xOzf FILE",
                  archive.string()));
  auto document = bundle.contents();
  document["file"] = archive.string();
  document["bytes"] = fs::file_size(archive, ignored);
  out.document(document);
  return 0;
}
}  // namespace

void declareSupportBundle(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.option("--output", options->output, "The archive (default aragora-support-TIME.tar.gz in this directory)",
              file())
      .list("--log", options->logs, "Also the end of this file, such as a log (repeatable)")
      .run([options](Context& context) { return makeBundle(context, *options); });
}

}  // namespace aragora::cli
