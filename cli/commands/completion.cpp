#include "cli/commands/commands.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
std::string textOf(const json::object& object, std::string_view member) {
  return std::string(object.at(member).as_string());
}

// How a shell completes a value: its choices, file, directory, or nothing. An id and latest are typed.
std::string completed(const std::string& value) {
  if (value.find('|') != std::string::npos) return replaceAll(value, "|", ",");
  if (value == "FILE" || value == "BACKUP") return "file";
  return value == "DIRECTORY" || value == "PLACE" ? "directory" : "nothing";
}

// What may follow a path of commands: the words, and for each option that takes a value what that is.
struct Following {
  std::vector<std::string> words;
  std::vector<std::string> values;  // --kind=full,base
};

void addCases(const json::object& command, const std::string& path, const Following& inherited, std::string& out,
              std::string_view format) {
  Following own;
  std::vector<std::string> words;
  for (const auto& sub : command.at("commands").as_array()) words.push_back(textOf(sub.as_object(), "name"));
  for (const auto& argument : command.at("arguments").as_array()) {
    const auto how = completed(std::string(argument.as_string()));
    if (how == "file" || how == "directory")
      own.values.push_back("=file");  // of no option: the words themselves
    else if (how != "nothing")
      for (auto& choice : split(how, ',')) words.push_back(std::move(choice));
  }
  for (const auto& option : command.at("options").as_array()) {
    const auto& object = option.as_object();
    own.words.push_back(textOf(object, "name"));
    const auto value = textOf(object, "value");
    if (!value.empty()) own.values.push_back(fmt::format("{}={}", own.words.back(), completed(value)));
  }
  own.words.insert(own.words.end(), inherited.words.begin(), inherited.words.end());
  own.values.insert(own.values.end(), inherited.values.begin(), inherited.values.end());
  words.insert(words.end(), own.words.begin(), own.words.end());
  out += fmt::format(fmt::runtime(format), path, join(words, " "), join(own.values, " "));
  for (const auto& sub : command.at("commands").as_array()) {
    const auto& object = sub.as_object();
    addCases(object, path + " " + textOf(object, "name"), own, out, format);
  }
}

constexpr const char* kCase = "    \"{}\") list=\"{}\"; values=\"{}\" ;;\n";

// Walks the words before the one that is completed: a command leads on, an option may take the word behind it.
std::string bash(const json::object& root) {
  std::string cases;
  addCases(root, "aragora", {}, cases, kCase);
  return "# bash completion of aragora; from: aragora completion bash\n"
         "_aragora_at() {\n  case \"$1\" in\n" +
         cases +
         "    *) return 1 ;;\n  esac\n}\n"
         "_aragora() {\n"
         "  local path=aragora word list= values= awaited= current=${COMP_WORDS[COMP_CWORD]}\n"
         "  _aragora_at \"$path\"\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    if [ \"$word\" = = ]; then continue; fi\n"
         "    if [ -n \"$awaited\" ]; then awaited=; continue; fi\n"
         "    case \"$word\" in\n"
         "      -*) case \" $values \" in *\" $word=\"*) awaited=\" $values \"; awaited=${awaited#*\" $word=\"}; "
         "awaited=${awaited%% *} ;; esac ;;\n"
         "      help) ;;\n"  // what comes behind it are commands
         "      *) if _aragora_at \"$path $word\"; then path=\"$path $word\"; fi ;;\n"
         "    esac\n"
         "  done\n"
         "  if [ \"$current\" = = ]; then current=; fi\n"
         "  COMPREPLY=()\n"
         "  case \"$awaited\" in\n"
         "    '') mapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$current\")\n"
         "      case \" $values \" in *\" =file \"*) compopt -o filenames 2>/dev/null; mapfile -t -O ${#COMPREPLY[@]} "
         "COMPREPLY < <(compgen -f -- \"$current\") ;; esac ;;\n"
         "    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$current\") ;;\n"
         "    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$current\") ;;\n"
         "    nothing) ;;\n"
         "    *) mapfile -t COMPREPLY < <(compgen -W \"${awaited//,/ }\" -- \"$current\") ;;\n"
         "  esac\n"
         "}\ncomplete -F _aragora aragora\n";
}

std::string zsh(const json::object& root) {
  std::string cases;
  addCases(root, "aragora", {}, cases, kCase);
  return "#compdef aragora\n# zsh completion of aragora; from: aragora completion zsh\n"
         "_aragora_at() {\n  case \"$1\" in\n" +
         cases +
         "    *) return 1 ;;\n  esac\n}\n"
         "_aragora() {\n"
         "  local at=aragora word list= values= awaited=\n"
         "  _aragora_at \"$at\"\n"
         "  for word in ${words[2,CURRENT-1]}; do\n"
         "    if [[ -n $awaited ]]; then awaited=; continue; fi\n"
         "    if [[ $word == -* ]]; then\n"
         "      [[ \" $values \" == *\" $word=\"* ]] && awaited=${${${:-\" $values \"}#* $word=}%% *}\n"
         "    elif [[ $word != help ]] && _aragora_at \"$at $word\"; then\n"
         "      at=\"$at $word\"\n"
         "    fi\n"
         "  done\n"
         "  case $awaited in\n"
         "    ('') compadd -- ${=list}; [[ \" $values \" == *\" =file \"* ]] && _files ;;\n"
         "    (file) _files ;;\n"
         "    (directory) _files -/ ;;\n"
         "    (nothing) ;;\n"
         "    (*) compadd -- ${(s:,:)awaited} ;;\n"
         "  esac\n"
         "}\n"
         "if [[ $funcstack[1] == _aragora ]]; then _aragora; else compdef _aragora aragora; fi\n";
}

std::string fishOption(const json::object& option) {
  const auto value = textOf(option, "value");
  const auto how = value.empty() ? std::string() : completed(value);
  std::string line = " -l " + textOf(option, "name").substr(2);
  if (how.empty()) return line;
  if (how == "file" || how == "directory") return line + " -r -F";
  return line + (how == "nothing" ? " -x" : fmt::format(" -x -a '{}'", replaceAll(how, ",", " ")));
}

std::string fish(const json::object& root) {
  std::string out = "# fish completion of aragora; from: aragora completion fish\ncomplete -c aragora -f\n";
  for (const auto& option : root.at("options").as_array())
    out += fmt::format("complete -c aragora{}\n", fishOption(option.as_object()));
  for (const auto& command : root.at("commands").as_array()) {
    const auto& object = command.as_object();
    const auto name = textOf(object, "name");
    const auto seen = fmt::format("complete -c aragora -n '__fish_seen_subcommand_from {}'", name);
    out += fmt::format("complete -c aragora -n __fish_use_subcommand -a {} -d '{}'\n", name,
                       replaceAll(textOf(object, "description"), "'", "\\'"));
    for (const auto& option : object.at("options").as_array()) out += seen + fishOption(option.as_object()) + "\n";
    for (const auto& argument : object.at("arguments").as_array()) {
      const auto how = completed(std::string(argument.as_string()));
      if (how.find(',') != std::string::npos) out += fmt::format("{} -a '{}'\n", seen, replaceAll(how, ",", " "));
    }
    for (const auto& sub : object.at("commands").as_array()) {
      const auto sub_name = textOf(sub.as_object(), "name");
      out += fmt::format("{} -a {}\n", seen, sub_name);
      for (const auto& option : sub.as_object().at("options").as_array())
        out += fmt::format("complete -c aragora -n '__fish_seen_subcommand_from {}'{}\n", sub_name,
                           fishOption(option.as_object()));
    }
  }
  return out;
}
}  // namespace

void declareCompletion(CommandLine line) {
  auto shell = std::make_shared<std::optional<std::string>>();
  line.positional("shell", *shell, "bash, zsh, fish, or json for the list behind them",
                  oneOf({"bash", "zsh", "fish", "json"}));
  line.run([shell](Context& context) {
    const auto root = parseJson(dumpCommands(), "the command list").as_object();
    const auto name = shell->value_or("bash");
    if (name == "json" && context.out().json())
      context.out().document({{"commands", root}});
    else if (name == "json")
      context.out().raw(toJson(root) + "\n");
    else
      context.out().text("script", name == "zsh" ? zsh(root) : name == "fish" ? fish(root) : bash(root));
    return 0;
  });
}

}  // namespace aragora::cli
