#include "cli/command_line.h"

#include <CLI/CLI.hpp>

#include "cli/command_table.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/base/version.h"

namespace aragora::cli {

CommandLine& CommandLine::flag(const std::string& names, bool& target, const std::string& description) {
  app_.add_flag(names, target, description);
  return *this;
}

CommandLine& CommandLine::option(const std::string& names, std::optional<std::string>& target,
                                 const std::string& description) {
  app_.add_option_function<std::string>(
          names, [&target](const std::string& value) { target = value; }, description)
      ->type_name("TEXT");
  return *this;
}

CommandLine& CommandLine::option(const std::string& names, std::optional<std::int64_t>& target,
                                 const std::string& description) {
  app_.add_option_function<std::int64_t>(
          names, [&target](const std::int64_t& value) { target = value; }, description)
      ->type_name("NUMBER");
  return *this;
}

CommandLine& CommandLine::list(const std::string& names, std::vector<std::string>& target,
                               const std::string& description) {
  app_.add_option(names, target, description)->type_name("TEXT")->delimiter(',')->allow_extra_args(false);
  return *this;
}

CommandLine& CommandLine::positional(const std::string& name, std::optional<std::string>& target,
                                     const std::string& description) {
  app_.add_option_function<std::string>(
          name, [&target](const std::string& value) { target = value; }, description)
      ->type_name("");
  return *this;
}

CommandLine CommandLine::subcommand(const std::string& name, const std::string& description) {
  auto* sub = app_.add_subcommand(name, description);
  sub->fallthrough();
  return {*sub, chosen_};
}

void CommandLine::run(Run function) {
  // A parent's callback runs after its subcommand's: the innermost command keeps the choice.
  app_.callback([chosen = chosen_, function = std::move(function), &app = app_] {
    if (app.get_subcommands().empty()) *chosen = function;
  });
}

namespace {
void addGlobalOptions(CLI::App& app, GlobalOptions& global) {
  CommandLine line(app, nullptr);
  line.option("--config", global.config_file, "Configuration file instead of /etc/aragora/aragora.toml")
      .option("--env-file", global.env_file, "Take settings from this environment file, read as systemd reads it")
      .option("--unit", global.unit, "See the settings as this systemd unit would")
      .list("--set", global.settings, "Set one setting, key=value (repeatable; no secrets)")
      .flag("--json", global.json, "Print one JSON document, also on failure")
      .flag("-q,--quiet", global.quiet, "Print warnings and errors only")
      .flag("-v,--verbose", global.verbose, "Print more")
      .flag("--no-color", global.no_color, "Never colour (NO_COLOR does the same)");
}

std::vector<std::string> commandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) names.push_back(sub->get_name());
  return names;
}

void addOptionNames(const CLI::App& app, std::vector<std::string>& names) {
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
  }
}

// CLI11 2.1 has no suggestions and its own exit statuses: both are made here.
[[noreturn]] void refuse(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv) {
  const CLI::App* current = &app;
  std::vector<std::string> options;
  addOptionNames(app, options);
  std::string path = "aragora";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (startsWith(word, "-")) {
      const auto name = word.substr(0, word.find('='));
      std::vector<std::string> known = options;
      addOptionNames(*current, known);
      if (std::find(known.begin(), known.end(), name) != known.end() || !startsWith(word, "--")) continue;
      const auto close = nearest(name, known);
      throw Error(Code::Usage, fmt::format("{} has no option {}", path, printable(name, 60)),
                  close ? fmt::format("did you mean {}?", *close) : fmt::format("see: {} --help", path));
    }
    const auto names = commandNames(*current);
    if (std::find(names.begin(), names.end(), word) != names.end()) {
      current = current->get_subcommand(word);
      path += " " + word;
    } else if (!names.empty() && current->get_parent() == nullptr) {
      const auto close = nearest(word, names);
      throw Error(Code::Usage, fmt::format("there is no command '{}'", printable(word, 60)),
                  close ? fmt::format("did you mean {}?", *close) : "see: aragora --help");
    }
  }
  throw Error(Code::Usage, fmt::format("{}: {}", path, printable(error.what(), 200)),
              fmt::format("see: {} --help", path));
}

json::object describe(const CLI::App& app) {
  json::array options;
  for (const auto* option : app.get_options()) {
    if (option->get_lnames().empty()) continue;
    options.push_back(json::object{{"name", "--" + option->get_lnames()[0]},
                                   {"takes_value", option->get_items_expected_max() > 0},
                                   {"description", option->get_description()}});
  }
  json::array commands;
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) commands.push_back(describe(*sub));
  return {
      {"name", app.get_name()}, {"description", app.get_description()}, {"options", options}, {"commands", commands}};
}

void build(CLI::App& app, GlobalOptions& global, const std::shared_ptr<Run>& chosen) {
  app.name("aragora");
  app.set_version_flag("--version", fmt::format("aragora {}", kVersion), "Print the version");
  app.fallthrough();
  app.get_formatter()->column_width(34);
  addGlobalOptions(app, global);
  for (const auto& command : commandTable()) {
    auto* sub = app.add_subcommand(std::string(command.name), std::string(command.description));
    sub->fallthrough();
    command.declare(CommandLine(*sub, chosen));
  }
  app.callback([&app, chosen] {
    if (app.get_subcommands().empty()) *chosen = nullptr;
  });
  app.footer("Every command has a man page: man aragora-<command>. Settings: man aragora.toml");
}
}  // namespace

Parsed parseCommandLine(int argc, const char* const* argv, GlobalOptions& global) {
  CLI::App app("Production deployment checklist as commands, and the daemon they look after");
  const auto chosen = std::make_shared<Run>();
  build(app, global, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion&) {
    return {{}, fmt::format("aragora {}\n", kVersion)};
  } catch (const CLI::CallForHelp&) {
    const CLI::App* named = &app;
    while (!named->get_subcommands().empty()) named = named->get_subcommands().front();
    return {{}, named->help(named == &app ? "" : named->get_parent()->get_name())};
  } catch (const CLI::ParseError& error) {
    refuse(app, error, argc, argv);
  }
  if (!*chosen) {
    if (argc <= 1) return {{}, app.help()};
    throw Error(Code::Usage, "no command was given", "see: aragora --help");
  }
  return {*chosen, {}};
}

std::string dumpCommands() {
  CLI::App app("aragora");
  GlobalOptions global;
  build(app, global, std::make_shared<Run>());
  return toJson(describe(app));
}

}  // namespace aragora::cli
