#include "cli/commands/commands.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/config/render.h"
#include "common/crypto/hash.h"
#include "common/deployment/config_hash.h"
#include "common/deployment/shown_settings.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::string> key;
  bool origin = false;
};

void print(const Output& out, const config::Setting& setting, const config::Config& config, bool with_origin) {
  const auto& all = config.candidates(setting.key);
  const auto value = all.empty() ? std::string(setting.fallback) : deployment::shown(setting, all[0]);
  out.line(fmt::format("{} = {}{}", setting.key, value.empty() ? "(unset)" : value,
                       with_origin ? out.dim(fmt::format("  [{}]", config.origin(setting.key).text)) : ""));
  if (!with_origin) return;
  for (std::size_t i = 1; i < all.size(); ++i)
    out.line(out.dim(fmt::format("    shadows {}  [{}]", deployment::shown(setting, all[i]), all[i].origin.text)));
}

int show(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto& loaded = context.loaded();
  if (options.key) {
    const auto* setting = config::findSetting(*options.key);
    if (setting == nullptr) setting = config::findByEnvironment(*options.key);
    if (setting == nullptr) {
      std::vector<std::string> keys;
      for (const auto& candidate : config::catalogue()) keys.emplace_back(candidate.key);
      const auto close = nearest(*options.key, keys);
      throw Error(Code::Usage, fmt::format("there is no setting {}", printable(*options.key, 60)),
                  close ? fmt::format("did you mean {}?", *close) : "see: aragora config show");
    }
    out.document({{std::string(setting->key), deployment::describe(*setting, loaded.config)}});
    print(out, *setting, loaded.config, options.origin);
  } else {
    json::object all;
    for (const auto& setting : config::catalogue()) {
      all[setting.key] = deployment::describe(setting, loaded.config);
      print(out, setting, loaded.config, options.origin);
    }
    json::array problems;
    for (const auto& problem : loaded.problems)
      problems.push_back(json::object{{"variable", problem.variable},
                                      {"message", redact(problem.message)},
                                      {"origin", problem.origin},
                                      {"hint", problem.hint}});
    const auto hash = deployment::configHash(loaded.config, loaded.config);
    out.line(out.dim(fmt::format("config hash {}", hash)));
    out.document({{"config_file", loaded.config_file},
                  {"config_hash", hash},
                  {"hashed", deployment::hashedSettings(loaded.config, loaded.config)},
                  {"settings", all},
                  {"problems", problems}});
  }
  // The document already lists the problems.
  if (out.json()) {
    const bool sound =
        std::all_of(loaded.problems.begin(), loaded.problems.end(), [](const auto& p) { return p.warning; });
    return sound ? 0 : info(Code::Config).exit_status;
  }
  config::requireNoProblems(loaded.problems);
  return 0;
}
}  // namespace

void declareConfig(CommandLine line) {
  auto options = std::make_shared<Options>();
  auto show_line = line.subcommand("show", "Show effective values; secrets as length and short digest");
  show_line.positional("key", options->key, "A setting (server.port) or variable (ARAGORA_PORT); all when left out");
  show_line.flag("--origin", options->origin, "Also where each value comes from and what it shadows");
  show_line.run([options](Context& context) { return show(context, *options); });
  line.subcommand("example", "Print an aragora.toml with every setting").run([](Context& context) {
    context.out().text("text", config::renderExampleFile());
    return 0;
  });
  line.subcommand("manpage", "Print the man page aragora.toml(5)").run([](Context& context) {
    context.out().text("text", config::renderManPage());
    return 0;
  });
  line.subcommand("environment", "Print the man page aragora-environment(7)").run([](Context& context) {
    context.out().text("text", config::renderEnvironmentManPage());
    return 0;
  });
  line.run([](Context&) -> int {
    throw Error(Code::Usage, "config needs a subcommand", "try: aragora config show --origin");
  });
}

}  // namespace aragora::cli
