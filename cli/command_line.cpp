#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <set>

#include "cli/command_table.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/base/version.h"

namespace aragora::cli {

namespace {
constexpr std::size_t kColumn = 34;

std::string shown(const Value& value) { return value.choices.empty() ? value.type : join(value.choices, "|"); }

std::function<void(const std::string&)> setter(const std::string& names, std::optional<std::string>& target,
                                               const Value& value) {
  return [&target, names, choices = value.choices](const std::string& given) {
    if (!choices.empty() && std::find(choices.begin(), choices.end(), given) == choices.end()) {
      const auto close = nearest(given, choices);
      throw Error(Code::Usage, fmt::format("{} {} is unknown", names, printable(given, 40)),
                  close ? fmt::format("did you mean {}?", *close) : fmt::format("use {}", join(choices, ", ")));
    }
    target = given;
  };
}
}  // namespace

CommandLine& CommandLine::flag(const std::string& names, bool& target, const std::string& description) {
  app_.add_flag(names, target, description);
  return *this;
}

CommandLine& CommandLine::option(const std::string& names, std::optional<std::string>& target,
                                 const std::string& description, const Value& value) {
  app_.add_option_function<std::string>(names, setter(names, target, value), description)->type_name(shown(value));
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
                                     const std::string& description, const Value& value) {
  app_.add_option_function<std::string>(name, setter(name, target, value), description)
      ->type_name(value.type == "TEXT" ? "" : shown(value));
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
  line.option("--config", global.config_file, "Configuration file instead of /etc/aragora/aragora.toml", file())
      .option("--env-file", global.env_file, "Take settings from this environment file, read as systemd reads it",
              file())
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

const CLI::App* subcommandOf(const CLI::App& app, const std::string& name) {
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_name() == name) return sub;
  }
  return nullptr;
}

// "aragora backup verify"
std::string pathOf(const CLI::App& app) {
  return (app.get_parent() == nullptr ? std::string() : pathOf(*app.get_parent()) + " ") + app.get_name();
}

// A command takes the options of those it belongs to as well.
std::vector<const CLI::Option*> optionsOf(const CLI::App& app) {
  std::vector<const CLI::Option*> options;
  for (const auto* at = &app; at != nullptr; at = at->get_parent()) {
    for (const auto* option : at->get_options([](const CLI::Option*) { return true; })) options.push_back(option);
  }
  return options;
}

std::vector<std::string> namesOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const auto& name : option.get_lnames()) names.push_back("--" + name);
  for (const auto& name : option.get_snames()) names.push_back("-" + name);
  return names;
}

// A word that stands where none belongs may be a secret that was pasted: what is longer than names are is not repeated.
std::string shownWord(const std::string& word) {
  constexpr std::size_t kLongestName = 24;
  const bool path = startsWith(word, "/") || startsWith(word, ".") || startsWith(word, "~");
  if (word.size() <= kLongestName || path) return printable(word, 60);
  return fmt::format("‹{}›", counted(word.size(), "character"));
}

// CLI11 repeats what was typed.
std::string withoutLongWords(std::string message, int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (const auto shown = shownWord(word); shown != word) message = replaceAll(message, word, shown);
  }
  return printable(message, 200);
}

[[noreturn]] void refuseCommand(const CLI::App& app, const std::string& word) {
  const auto close = nearest(word, commandNames(app));
  const bool root = app.get_parent() == nullptr;
  throw Error(Code::Usage,
              root ? fmt::format("there is no command '{}'", shownWord(word))
                   : fmt::format("{} has no subcommand '{}'", pathOf(app), shownWord(word)),
              close ? fmt::format("did you mean {}?", root ? *close : pathOf(app) + " " + *close)
                    : fmt::format("see: {} --help", pathOf(app)));
}

// Whether the word after it is its value; throws Error(Usage) when there is no such option.
bool takesNextWord(const CLI::App& app, const std::string& word) {
  const auto name = word.substr(0, word.find('='));
  std::vector<std::string> known;
  for (const auto* option : optionsOf(app)) {
    for (const auto& candidate : namesOf(*option)) {
      if (candidate == name) return option->get_items_expected_max() > 0 && name == word;
      known.push_back(candidate);
    }
  }
  if (!startsWith(word, "--")) return false;
  const auto close = nearest(name, known);
  throw Error(Code::Usage, fmt::format("{} has no option {}", pathOf(app), printable(name, 60)),
              close ? fmt::format("did you mean {}?", *close) : fmt::format("see: {} --help", pathOf(app)));
}

// Where any word may stand, such as a question, only one that is nearly a command was meant as one.
bool meantAsCommand(const CLI::App& app, const std::string& word) {
  const auto names = commandNames(app);
  const bool takes_words = !app.get_options([](const CLI::Option* one) { return one->get_positional(); }).empty();
  return !names.empty() && (!takes_words || nearest(word, names));
}

// CLI11 2.1 has no suggestions and its own exit statuses: both are made here.
[[noreturn]] void refuse(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv) {
  const CLI::App* current = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (startsWith(word, "-")) {
      if (takesNextWord(*current, word)) ++i;
    } else if (const auto* sub = subcommandOf(*current, word)) {
      current = sub;
    } else if (meantAsCommand(*current, word)) {
      refuseCommand(*current, word);
    }
  }
  throw Error(Code::Usage, fmt::format("{}: {}", pathOf(*current), withoutLongWords(error.what(), argc, argv)),
              fmt::format("see: {} --help", pathOf(*current)));
}

// CLI11 reads an empty number as 0 and takes the next word for the value of «--name=». Nothing here has an empty value:
// it is a variable that was not set.
void refuseEmptyWords(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool open = startsWith(word, "--") && word.size() > 2 && word.find('=') == word.size() - 1;
    if (!word.empty() && !open) continue;
    const std::string before = open ? word.substr(0, word.size() - 1) : argv[i - 1];
    throw Error(Code::Usage,
                startsWith(before, "-") ? fmt::format("the value of {} is empty", printable(before, 60))
                                        : "an argument is empty",
                "leave it out, or give it a value (a variable of the shell that is not set is an empty word)");
  }
}

std::string exitStatusesOf(const CLI::App& app) {
  const auto* at = &app;
  while (at->get_parent()->get_parent() != nullptr) at = at->get_parent();
  for (const auto& command : commandTable()) {
    if (command.name == at->get_name()) return join(split(command.exit_statuses, ' '), ", ");
  }
  return {};
}

// With the options of the commands above, which CLI11 leaves out.
std::string helpOf(const CLI::App& app) {
  const auto* parent = app.get_parent();
  if (parent == nullptr) return app.help();
  auto text = std::string(trim(app.help(pathOf(*parent)))) + "\n";
  CLI::Formatter formatter;
  formatter.column_width(kColumn);
  std::set<std::string> shown{"version"};
  for (const auto* option : app.get_options()) shown.insert(option->get_single_name());
  for (; parent != nullptr; parent = parent->get_parent()) {
    const auto options = parent->get_options([&shown](const CLI::Option* option) {
      return !option->get_positional() && shown.insert(option->get_single_name()).second;
    });
    if (options.empty()) continue;
    text += formatter.make_group(
        parent->get_parent() == nullptr ? "Options of every command" : fmt::format("Options of {}", pathOf(*parent)),
        false, options);
  }
  return text + fmt::format("\nExit statuses: {} (man aragora)\n", exitStatusesOf(app));
}

// The words behind «help», when that is the first that is no option: aragora help [COMMAND [SUBCOMMAND]]
std::optional<std::vector<std::string>> helpWanted(const CLI::App& app, int argc, const char* const* argv) {
  std::optional<std::vector<std::string>> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "-h" || word == "--help") {
      if (words && words->empty()) words->push_back("help");
    } else if (startsWith(word, "-")) {
      if (takesNextWord(app, word)) ++i;
    } else if (words) {
      words->push_back(word);
    } else if (word == "help") {
      words.emplace();
    } else {
      return std::nullopt;
    }
  }
  return words;
}

const CLI::App& named(const CLI::App& app, const std::vector<std::string>& path) {
  const auto* current = &app;
  for (const auto& word : path) {
    const auto* sub = subcommandOf(*current, word);
    if (sub == nullptr) refuseCommand(*current, word);
    current = sub;
  }
  return *current;
}

json::object describe(const CLI::App& app) {
  json::array options;
  json::array arguments;
  for (const auto* option : app.get_options()) {
    if (option->get_positional()) {
      arguments.push_back(json::string(option->get_type_name()));
      continue;
    }
    if (option->get_lnames().empty()) continue;
    const bool takes_value = option->get_items_expected_max() > 0;
    options.push_back(json::object{{"name", "--" + option->get_lnames()[0]},
                                   {"takes_value", takes_value},
                                   {"value", takes_value ? option->get_type_name() : ""},
                                   {"description", option->get_description()}});
  }
  json::array commands;
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) commands.push_back(describe(*sub));
  return {{"name", app.get_name()},
          {"description", app.get_description()},
          {"options", options},
          {"arguments", arguments},
          {"commands", commands}};
}

Parsed help(const CLI::App& app) { return {{}, helpOf(app), {{"help", helpOf(app)}, {"command", describe(app)}}}; }

void build(CLI::App& app, GlobalOptions& global, const std::shared_ptr<Run>& chosen) {
  app.name("aragora");
  app.set_version_flag("--version", fmt::format("aragora {}", kVersion), "Print the version");
  app.fallthrough();
  app.get_formatter()->column_width(kColumn);
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
  refuseEmptyWords(argc, argv);
  if (const auto path = helpWanted(app, argc, argv)) return help(named(app, *path));
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion&) {
    return {{}, fmt::format("aragora {}\n", kVersion), {{"version", kVersion}}};
  } catch (const CLI::CallForHelp&) {
    const CLI::App* chosen_app = &app;
    while (!chosen_app->get_subcommands().empty()) chosen_app = chosen_app->get_subcommands().front();
    return help(*chosen_app);
  } catch (const CLI::ParseError& error) {
    refuse(app, error, argc, argv);
  }
  if (!*chosen) {
    if (argc <= 1) return help(app);
    throw Error(Code::Usage, "no command was given", "see: aragora --help");
  }
  return {*chosen, {}, {}};
}

bool wantsJson(int argc, const char* const* argv) {
  return std::any_of(argv + 1, argv + argc, [](const char* word) { return std::string_view(word) == "--json"; });
}

std::string dumpCommands() {
  CLI::App app("aragora");
  GlobalOptions global;
  build(app, global, std::make_shared<Run>());
  return toJson(describe(app));
}

}  // namespace aragora::cli
