#include "cli/commands/commands.h"

#include "common/base/text.h"

namespace aragora::cli {

namespace {
std::vector<std::string> words(const json::object& command, std::string_view member) {
  std::vector<std::string> result;
  for (const auto& element : command.at(member).as_array())
    result.emplace_back(element.as_object().at("name").as_string());
  return result;
}

// A case for each command path: its subcommands and options.
void addCases(const json::object& command, const std::string& path, const std::vector<std::string>& inherited,
              std::string& out, std::string_view format) {
  auto options = words(command, "options");
  options.insert(options.end(), inherited.begin(), inherited.end());
  auto all = words(command, "commands");
  all.insert(all.end(), options.begin(), options.end());
  out += fmt::format(fmt::runtime(format), path, join(all, " "));
  for (const auto& sub : command.at("commands").as_array()) {
    const auto& object = sub.as_object();
    addCases(object, path + " " + std::string(object.at("name").as_string()), options, out, format);
  }
}

std::string bash(const json::object& root) {
  std::string cases;
  addCases(root, "aragora", {}, cases, "    \"{}\") words=\"{}\" ;;\n");
  return "# bash completion of aragora; from: aragora completion bash\n"
         "_aragora() {\n  local path=aragora word words=\n  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    "
         "case \"$word\" in -*) ;; *) path=\"$path $word\" ;; esac\n  done\n"
         "  case \"$path\" in\n" +
         cases +
         "  esac\n  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n}\ncomplete -F "
         "_aragora aragora\n";
}

std::string zsh(const json::object& root) {
  std::string cases;
  addCases(root, "aragora", {}, cases, "    \"{}\") list=({}) ;;\n");
  return "#compdef aragora\n# zsh completion of aragora; from: aragora completion zsh\n"
         "_aragora() {\n  local path=aragora word; local -a list\n  for word in ${words[2,CURRENT-1]}; do\n    [[ "
         "$word == -* ]] || path=\"$path $word\"\n  done\n"
         "  case \"$path\" in\n" +
         cases + "  esac\n  compadd -- $list\n}\ncompdef _aragora aragora\n";
}

std::string fish(const json::object& root) {
  std::string out = "# fish completion of aragora; from: aragora completion fish\ncomplete -c aragora -f\n";
  for (const auto& command : root.at("commands").as_array()) {
    const auto& object = command.as_object();
    const std::string name(object.at("name").as_string());
    out += fmt::format("complete -c aragora -n __fish_use_subcommand -a {} -d '{}'\n", name,
                       replaceAll(std::string(object.at("description").as_string()), "'", "\\'"));
    auto all = words(object, "commands");
    if (!all.empty())
      out += fmt::format("complete -c aragora -n '__fish_seen_subcommand_from {}' -a '{}'\n", name, join(all, " "));
    for (const auto& option : words(object, "options"))
      out += fmt::format("complete -c aragora -n '__fish_seen_subcommand_from {}' -l {}\n", name, option.substr(2));
  }
  return out;
}
}  // namespace

void declareCompletion(CommandLine line) {
  auto shell = std::make_shared<std::optional<std::string>>();
  line.positional("shell", *shell, "bash, zsh, fish, or json for the list behind them");
  line.run([shell](Context& context) {
    const auto root = parseJson(dumpCommands(), "the command list").as_object();
    const auto name = shell->value_or("bash");
    if (name == "bash")
      context.out().raw(bash(root));
    else if (name == "zsh")
      context.out().raw(zsh(root));
    else if (name == "fish")
      context.out().raw(fish(root));
    else if (name == "json")
      context.out().raw(toJson(root) + "\n");
    else
      throw Error(Code::Usage, fmt::format("no completion for '{}'", printable(name, 40)), "use bash, zsh or fish");
    return 0;
  });
}

}  // namespace aragora::cli
