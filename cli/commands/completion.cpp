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

struct Word {
  std::string text;
  std::string description;
};

// What may follow a path of commands: the words, and for each option that takes a value what that is.
struct Case {
  std::string path;
  std::vector<Word> words;
  std::vector<std::string> values;  // --kind=full,base; =file is of no option: the words themselves
};

void addCases(const json::object& command, const std::string& path, const Case& inherited, std::vector<Case>& cases) {
  Case options;
  Case own{path, {}, {}};
  for (const auto& sub : command.at("commands").as_array())
    own.words.push_back({textOf(sub.as_object(), "name"), textOf(sub.as_object(), "description")});
  for (const auto& argument : command.at("arguments").as_array()) {
    const auto how = completed(std::string(argument.as_string()));
    if (how == "file" || how == "directory")
      options.values.push_back("=file");
    else if (how != "nothing")
      for (auto& choice : split(how, ',')) own.words.push_back({std::move(choice), ""});
  }
  for (const auto& option : command.at("options").as_array()) {
    const auto& object = option.as_object();
    options.words.push_back({textOf(object, "name"), textOf(object, "description")});
    const auto value = textOf(object, "value");
    if (!value.empty()) options.values.push_back(fmt::format("{}={}", options.words.back().text, completed(value)));
  }
  options.words.insert(options.words.end(), inherited.words.begin(), inherited.words.end());
  options.values.insert(options.values.end(), inherited.values.begin(), inherited.values.end());
  own.words.insert(own.words.end(), options.words.begin(), options.words.end());
  own.values = options.values;
  cases.push_back(std::move(own));
  for (const auto& sub : command.at("commands").as_array())
    addCases(sub.as_object(), path + " " + textOf(sub.as_object(), "name"), options, cases);
}

std::vector<Case> casesOf(const json::object& root) {
  std::vector<Case> cases;
  addCases(root, "aragora", {}, cases);
  return cases;
}

// A function that sets list and values for a path of commands, or fails; for bash and zsh.
std::string posixCases(const json::object& root) {
  std::string out = "_aragora_at() {\n  case \"$1\" in\n";
  for (const auto& one : casesOf(root)) {
    std::vector<std::string> words;
    for (const auto& word : one.words) words.push_back(word.text);
    out +=
        fmt::format("    \"{}\") list=\"{}\"; values=\"{}\" ;;\n", one.path, join(words, " "), join(one.values, " "));
  }
  return out + "    *) return 1 ;;\n  esac\n}\n";
}

// Walks the words before the one that is completed: a command leads on, an option may take the word behind it.
std::string bash(const json::object& root) {
  return "# bash completion of aragora; from: aragora completion bash\n" + posixCases(root) +
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
  return "#compdef aragora\n# zsh completion of aragora; from: aragora completion zsh\n" + posixCases(root) +
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
         "  if [[ -z $awaited && $PREFIX == --*=* && \" $values \" == *\" ${PREFIX%%=*}=\"* ]]; then\n"
         "    awaited=${${${:-\" $values \"}#* ${PREFIX%%=*}=}%% *}\n"
         "    compset -P '*='\n"
         "  fi\n"
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

std::string fishWord(const Word& word) {
  const auto quoted = [](const std::string& text) {
    return "'" + replaceAll(replaceAll(text, "\\", "\\\\"), "'", "\\'") + "'";
  };
  return word.description.empty() ? quoted(word.text) : quoted(word.text) + "\\t" + quoted(word.description);
}

std::string fish(const json::object& root) {
  std::string cases;
  for (const auto& one : casesOf(root)) {
    std::vector<std::string> words;
    for (const auto& word : one.words) words.push_back(fishWord(word));
    cases += fmt::format("    case '{}'\n      set -g __aragora_list {}\n      set -g __aragora_values {}\n", one.path,
                         join(words, " "), join(one.values, " "));
  }
  return "# fish completion of aragora; from: aragora completion fish\n"
         "function __aragora_at\n  switch $argv[1]\n" +
         cases +
         "    case '*'\n      return 1\n  end\nend\n"
         "function __aragora_awaited\n"
         "  string replace -- \"$argv[1]=\" '' (string match -- \"$argv[1]=*\" $__aragora_values)[1]\n"
         "end\n"
         "function __aragora_complete\n"
         "  set -l at aragora\n"
         "  set -l awaited ''\n"
         "  set -l current (commandline -ct)\n"
         "  __aragora_at $at\n"
         "  for word in (commandline -opc)[2..-1]\n"
         "    if test -n \"$awaited\"\n"
         "      set awaited ''\n"
         "    else if string match -q -- '-*' $word\n"
         "      set awaited (__aragora_awaited $word)\n"
         "    else if test \"$word\" != help; and __aragora_at \"$at $word\"\n"
         "      set at \"$at $word\"\n"
         "    end\n"
         "  end\n"
         "  set -l before ''\n"
         "  if test -z \"$awaited\"; and string match -q -- '--*=*' $current\n"
         "    set before (string replace -r -- '=.*' '=' $current)\n"
         "    set awaited (__aragora_awaited (string replace -- '=' '' $before))\n"
         "    set current (string replace -r -- '^[^=]*=' '' $current)\n"
         "  end\n"
         "  switch \"$awaited\"\n"
         "    case ''\n"
         "      printf '%s\\n' $__aragora_list\n"
         "      if contains -- =file $__aragora_values; __fish_complete_path $current; end\n"
         "    case file\n      printf '%s\\n' $before(__fish_complete_path $current)\n"
         "    case directory\n      printf '%s\\n' $before(__fish_complete_directories $current '')\n"
         "    case nothing\n"
         "    case '*'\n      printf '%s\\n' $before(string split , -- $awaited)\n"
         "  end\n"
         "end\n"
         "complete -c aragora -f -a '(__aragora_complete)'\n";
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
