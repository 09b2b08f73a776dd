#include "common/config/loader.h"

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"
#include "common/config/addresses.h"
#include "common/config/secret_command.h"
#include "common/config/secret_file.h"
#include "common/config/toml_file.h"
#include "common/net/listen_address.h"

namespace aragora::config {

namespace {
bool isFlagText(const std::string& text) {
  static const std::set<std::string> kWords = {"true", "1", "yes", "on", "false", "0", "no", "off"};
  return kWords.count(lower(text)) > 0;
}

// A unit names files that may not be there; systemd starts it only with something in their place (SetCredential=).
bool standsForNothing(std::string_view credential) { return trim(credential) == kNotHandedOver; }

class Merger {
 public:
  Merger(const Sources& sources, const Environment& environment, const std::string& credentials, const Unit* unit)
      : sources_(sources), environment_(environment), credentials_(credentials), unit_(unit) {}

  Loaded merge(const std::string& config_file) {
    result_.config_file = config_file;
    std::vector<TomlEntry> toml;
    if (!config_file.empty()) toml = readToml(config_file);
    const bool handed_over_alone = onlyWhatIsHandedOver();
    if (handed_over_alone) result_.config.standApart();
    for (const auto& setting : catalogue()) {
      addFlag(setting);
      if (setting.secret && handed_over_alone) {
        addCredential(setting);
      } else {
        addEnvironment(setting);
        if (setting.secret) {
          addCredential(setting);
          addIndirections(setting);
        }
        addToml(setting, toml, config_file);
        if (setting.secret) addHandedOver(setting);
      }
      refuseEmpty(setting);
      validate(setting);
    }
    reportUnknownToml(toml, config_file);
    return std::move(result_);
  }

 private:
  void problem(const Setting& setting, std::string variable, std::string message, std::string origin,
               std::string hint) {
    result_.problems.push_back(
        {std::string(setting.key), std::move(variable), std::move(message), std::move(origin), std::move(hint)});
  }

  // Of a process that is to know some of the secrets which the configuration names, such as that of the backups' own
  // user: the others are not looked at, wherever they are.
  bool onlyWhatIsHandedOver() {
    const auto found = environment_.find(std::string(kSecretsVariable));
    if (found == environment_.end() || found->second.value.empty()) return false;
    if (found->second.value == kHandedOverAlone) return true;
    result_.problems.push_back({std::string(kSecretsVariable), std::string(kSecretsVariable),
                                fmt::format("'{}' is not {}", printable(found->second.value, 40), kHandedOverAlone),
                                found->second.origin, fmt::format("write {}, or remove it", kHandedOverAlone)});
    return false;
  }

  std::vector<TomlEntry> readToml(const std::string& file) {
    try {
      auto entries = parseToml(readFile(file, 1 << 20), file, result_.problems);
      for (auto& entry : entries) entry.key = currentKey(entry.key);
      return entries;
    } catch (const Error& error) {
      interrupt::check();
      result_.config_file_missing = error.code() == Code::NoInput;
      const bool installed = startsWith(file, std::string(kInstalledDirectory) + "/");
      result_.problems.push_back({"config_file", file, error.what(), file,
                                  result_.config_file_missing
                                      ? "check the path, or write one: aragora init --production"
                                  : installed && error.code() == Code::Permission
                                      ? "this is the installed service's: run it as root, or: sudo -u aragora aragora …"
                                  : error.hint().empty() ? "check the path and its permissions"
                                                         : error.hint(),
                                  false, error.code() == Code::Permission});
      return {};
    }
  }

  void addFlag(const Setting& setting) {
    const auto found = sources_.flags.find(std::string(setting.key));
    if (found == sources_.flags.end() || found->second.empty()) return;
    result_.config.add(setting.key,
                       {Secret(found->second), {Source::Flag, "command line", fmt::format("--set {}", setting.key)}});
  }

  // All aliases count as one level: equal values are fine, different ones are a mistake.
  void addEnvironment(const Setting& setting) {
    const EnvironmentValue* first = nullptr;
    std::string first_name;
    for (const auto name : setting.environment) {
      const auto found = environment_.find(std::string(name));
      if (found == environment_.end()) continue;
      if (found->second.value.empty()) {
        noteEmpty(setting, std::string(name), found->second.origin);
        continue;
      }
      // Kubernetes sets ARAGORA_PORT=tcp://… for a service called aragora; that is not our setting.
      if (name == "ARAGORA_PORT" && startsWith(found->second.value, "tcp://")) continue;
      if (first == nullptr) {
        first = &found->second;
        first_name = name;
        result_.config.add(setting.key, {Secret(first->value), {Source::Environment, first->origin, first_name}});
      } else if (found->second.value != first->value) {
        problem(setting, first_name, fmt::format("{} and {} are both set, to different values", first_name, name),
                fmt::format("{}, {}", first->origin, found->second.origin),
                fmt::format("keep {} and remove {}", setting.environment.front(),
                            first_name == setting.environment.front() ? name : std::string_view(first_name)));
      }
    }
  }

  void noteEmpty(const Setting& setting, const std::string& variable, const std::string& origin) {
    if (setting.key == key::kEnvironment) empty_ = {variable, origin};
  }

  // What was to say production and says nothing must not become development.
  void refuseEmpty(const Setting& setting) {
    if (setting.key != key::kEnvironment || !empty_ || result_.config.isSet(setting.key)) return;
    problem(setting, empty_->first, "is empty", empty_->second,
            "write production, staging, test or development, or remove it");
  }

  void addCredential(const Setting& setting) {
    for (const auto name : setting.environment) {
      for (const auto& file_name : {std::string(name), lower(name)}) {
        addUnitCredential(setting, std::string(name), file_name);
        if (credentials_.empty()) continue;
        const auto path = fs::path(credentials_) / file_name;
        std::error_code ignored;
        if (!fs::exists(path, ignored)) continue;
        addSecretFile(setting, path.string(), path.string(),
                      {Source::Credential, fmt::format("credential {}", path.string())});
      }
    }
  }

  // The units hand over all of /etc/aragora/credentials. That comes last: what a setting names is read again by a
  // reload, these are as they were when the unit was started.
  void addHandedOver(const Setting& setting) {
    for (const auto name : setting.environment) {
      if (result_.config.isSet(setting.key)) return;
      const auto id = fmt::format("{}{}", kHandedOver, name);
      if (addUnitCredential(setting, std::string(name), id) || credentials_.empty()) continue;
      const auto path = fs::path(credentials_) / id;
      std::error_code ignored;
      if (fs::exists(path, ignored))
        addSecretFile(setting, std::string(name), path.string(),
                      {Source::Credential, fmt::format("credential {}", path.string())});
    }
  }

  // True when the unit hands one of that name over, readable or not.
  bool addUnitCredential(const Setting& setting, const std::string& variable, const std::string& id) {
    if (unit_ == nullptr) return false;
    const auto found = unit_->credentials.find(id);
    if (found == unit_->credentials.end()) return false;
    const auto& content = found->second.content;
    if (content && !standsForNothing(content->reveal()))
      addIndirect(setting, variable, withoutFinalNewline(content->reveal()),
                  {Source::Credential, fmt::format("credential {}", found->second.origin), variable});
    return true;
  }

  void addIndirections(const Setting& setting) {
    for (const auto name : setting.environment) {
      const auto file_name = std::string(name) + "_FILE";
      if (const auto found = environment_.find(file_name);
          found != environment_.end() && !found->second.value.empty()) {
        addSecretFile(setting, file_name, found->second.value,
                      {Source::SecretFile, fmt::format("{} ({})", found->second.value, found->second.origin)});
      }
      const auto command_name = std::string(name) + "_COMMAND";
      if (const auto found = environment_.find(command_name);
          found != environment_.end() && !found->second.value.empty()) {
        addCommand(setting, command_name, found->second.value, found->second.origin);
      }
    }
  }

  void addSecretFile(const Setting& setting, const std::string& variable, const std::string& path, Origin origin) {
    origin.written = variable;
    // What %d of a unit leads to is there only while it runs.
    const std::filesystem::path named = path;
    if (unit_ != nullptr && named.parent_path() == unit_->credentials_directory &&
        addUnitCredential(setting, variable, named.filename().string()))
      return;
    if (!credentials_.empty() && named.parent_path() == credentials_) origin.handed_over = path;
    const auto file = readSecretFile(path, origin.source == Source::Credential);
    for (const auto& trouble : file.troubles) {
      problem(setting, variable, trouble.message, origin.text, trouble.hint);
      result_.problems.back().warning = trouble.warning;
      result_.problems.back().forbidden = trouble.forbidden;
    }
    if (file.text && (origin.handed_over.empty() || !standsForNothing(*file.text)))
      addIndirect(setting, variable, *file.text, origin);
  }

  void addCommand(const Setting& setting, const std::string& variable, const std::string& command,
                  const std::string& origin) {
    const Origin source{
        Source::Command,
        fmt::format("{} ({})", split(command, ' ').empty() ? variable : split(command, ' ').front(), origin), variable};
    if (!sources_.run_commands) {
      result_.config.add(setting.key, {Secret("unresolved"), source, false});
      return;
    }
    const auto said = runSecretCommand(command, unit_ != nullptr ? unit_->user : std::string());
    if (said.secret)
      addIndirect(setting, variable, *said.secret, source);
    else
      problem(setting, variable, said.problem, source.text, said.hint);
  }

  void addIndirect(const Setting& setting, const std::string& variable, std::string text, const Origin& origin) {
    if (text.empty()) {
      problem(setting, variable, "it leads to an empty value", origin.text,
              "write the secret into it, or remove the setting");
      return;
    }
    const auto& before = result_.config.candidates(setting.key);
    const auto conflict = std::find_if(before.begin(), before.end(), [&](const Candidate& candidate) {
      return candidate.origin.source != Source::Flag && candidate.resolved && candidate.text.reveal() != text;
    });
    if (conflict != before.end()) {
      problem(setting, variable, fmt::format("{} and {} give different values", conflict->origin.text, variable),
              origin.text, "keep one of the two");
    }
    result_.config.add(setting.key, {Secret(std::move(text)), origin});
  }

  void addToml(const Setting& setting, const std::vector<TomlEntry>& toml, const std::string& file) {
    for (const auto& entry : toml) {
      const Origin origin{Source::File, fmt::format("{}:{}", file, entry.line), entry.key};
      if (entry.key == setting.key && entry.text.empty()) {
        noteEmpty(setting, entry.key, origin.text);
      } else if (entry.key == setting.key) {
        result_.config.add(setting.key, {Secret(entry.text), origin});
      } else if (setting.secret && entry.key == std::string(setting.key) + "_file") {
        addTomlIndirect(setting, [&] {
          addSecretFile(setting, entry.key, entry.text,
                        {Source::SecretFile, fmt::format("{} ({})", entry.text, origin.text)});
        });
      } else if (setting.secret && entry.key == std::string(setting.key) + "_command") {
        addTomlIndirect(setting, [&] { addCommand(setting, entry.key, entry.text, origin.text); });
      }
    }
  }

  // What the environment already gives is not contradicted by the file: it shadows it.
  void addTomlIndirect(const Setting& setting, const std::function<void()>& add) {
    if (!result_.config.isSet(setting.key)) add();
  }

  void reportUnknownToml(const std::vector<TomlEntry>& toml, const std::string& file) {
    std::vector<std::string> known;
    for (const auto& setting : catalogue()) {
      known.emplace_back(setting.key);
      if (setting.secret) {
        known.push_back(std::string(setting.key) + "_file");
        known.push_back(std::string(setting.key) + "_command");
      }
    }
    for (const auto& entry : toml) {
      if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
      const auto close = nearest(entry.key, known);
      result_.problems.push_back(
          {entry.key, entry.key, fmt::format("unknown setting {}", printable(entry.key, 80)),
           fmt::format("{}:{}", file, entry.line),
           close ? fmt::format("did you mean {}?", *close) : "see aragora.toml(5) for the settings there are"});
    }
  }

  static bool isList(Type type) {
    return type == Type::List || type == Type::Listen || type == Type::Networks || type == Type::Origins;
  }

  // Each element that `wrong` says something of.
  void validateParts(const Setting& setting, const std::string& text,
                     const std::function<std::optional<std::string>(const std::string&)>& wrong,
                     const std::function<std::string(const std::string&)>& hint) {
    for (const auto& part : split(text, ',')) {
      if (const auto what = wrong(part))
        problem(setting, result_.config.variable(setting.key), fmt::format("'{}' {}", printable(part, 80), *what),
                result_.config.origin(setting.key).text, hint(part));
    }
  }

  void validateOrigins(const Setting& setting, const std::string& text) {
    const auto wrong = [](const std::string& part) -> std::optional<std::string> {
      if (part.find('*') != std::string::npos) return "is a wildcard";
      const auto right = canonicalOrigin(part);
      if (!right) return "is not an origin (scheme://host[:port], nothing after it)";
      if (*right != part) return "is not as browsers send it, and would match none";
      return std::nullopt;
    };
    validateParts(setting, text, wrong, [](const std::string& part) {
      const auto right = canonicalOrigin(part);
      return right ? fmt::format("write {}", *right)
                   : std::string("list each origin exactly, such as https://aragora.example.org");
    });
  }

  void validate(const Setting& setting) {
    const auto& all = result_.config.candidates(setting.key);
    if (all.empty() || !all.front().resolved) return;
    const auto& text = all.front().text.reveal();
    const auto& origin = all.front().origin.text;
    const auto variable = result_.config.variable(setting.key);
    const bool word = setting.type == Type::Integer || setting.type == Type::Flag || setting.type == Type::Choice;
    const bool quotes_itself = word || isList(setting.type);
    // Whoever reads their lines says what is wrong in them.
    const bool lines = setting.key == key::kAnthropicHeaders || setting.key == key::kOpenAiHeaders;
    if (const auto unseen = (setting.secret || !quotes_itself) && !lines ? invisibleIn(text) : std::nullopt)
      problem(setting, variable, fmt::format("the value {}", *unseen), origin,
              "remove it: whoever compares the value sees it, and nobody else does");
    // What is longer than any of these may be was meant for another setting, a secret perhaps.
    constexpr std::size_t kLongestWord = 32;
    const bool strayed = text.size() > kLongestWord && (word || setting.type == Type::Address);
    const auto shown = setting.secret ? std::string("the value")
                       : strayed      ? fmt::format("the value ({})", counted(text.size(), "character"))
                                      : fmt::format("'{}'", printable(text, 80));
    switch (setting.type) {
      case Type::Address:
        if (const auto what = listenProblem(text))
          problem(setting, variable, fmt::format("{} {}", shown, *what), origin,
                  "use an IP address such as 127.0.0.1, or 0.0.0.0 or :: for every interface");
        break;
      case Type::Listen:
        validateParts(setting, text, net::listenAddressProblem, [](const std::string&) {
          return std::string("write 127.0.0.1:8080, [::1]:8080 or unix:/run/aragora/aragora.sock");
        });
        break;
      case Type::Networks:
        validateParts(setting, text, networkProblem, [](const std::string&) {
          return std::string("list addresses and blocks, such as 10.0.0.5, 10.0.0.0/8 or fd00::/8");
        });
        break;
      case Type::Origins:
        validateOrigins(setting, text);
        break;
      case Type::Integer: {
        const auto value = parseInteger(text);
        if (!value || *value < setting.minimum || *value > setting.maximum) {
          problem(setting, variable,
                  fmt::format("{} is not a whole number from {} to {}", shown, setting.minimum, setting.maximum),
                  origin, fmt::format("the default is {}", setting.fallback));
        }
        break;
      }
      case Type::Flag:
        if (!isFlagText(text))
          problem(setting, variable, fmt::format("{} is neither true nor false", shown), origin, "use true or false");
        break;
      case Type::Choice:
        if (std::find(setting.choices.begin(), setting.choices.end(), text) == setting.choices.end()) {
          std::vector<std::string> names(setting.choices.begin(), setting.choices.end());
          const auto close = startsWith(text, "prod") || text == "live" ? std::optional<std::string>("production")
                                                                        : nearest(text, names);
          problem(setting, variable, fmt::format("{} is none of: {}", shown, join(names, ", ")), origin,
                  close && std::find(names.begin(), names.end(), *close) != names.end()
                      ? fmt::format("did you mean {}?", *close)
                      : fmt::format("use one of: {}", join(names, ", ")));
        }
        break;
      case Type::Url: {
        const bool has_scheme = text.find("://") != std::string::npos;
        // Those of backends are secrets, and their checks read them.
        const bool web = startsWith(text, "http://") || startsWith(text, "https://");
        if (has_scheme && !setting.secret && (!web || text.size() == text.find("://") + 3))
          problem(setting, variable, fmt::format("{} is not an http or https URL", shown), origin,
                  "write it as https://host[:port][/path]");
        const bool libpq_keywords = setting.key == key::kDatabaseUrl && text.find('=') != std::string::npos;
        const bool socket_file = setting.key == key::kRedisUrl && startsWith(text, "unix:");
        if (!has_scheme && !libpq_keywords && !socket_file)
          problem(setting, variable, fmt::format("{} is not a URL", shown), origin,
                  "a URL starts with a scheme such as https:// or postgresql://");
        break;
      }
      case Type::UrlPath:
        if (const auto what = urlPathProblem(text))
          problem(setting, variable, fmt::format("{} {}", shown, *what), origin, "write it like /aragora");
        break;
      case Type::Path:
        if (text.front() != '/')
          problem(setting, variable, fmt::format("{} is not an absolute path", shown), origin, "start it with /");
        break;
      case Type::Text:
      case Type::List:
        break;
    }
  }

  std::optional<std::pair<std::string, std::string>> empty_;  // the name of the environment: variable, origin
  const Sources& sources_;
  const Environment& environment_;
  const std::string& credentials_;
  const Unit* unit_;
  Loaded result_;
};

}  // namespace

Loaded loadFrom(const Sources& sources, const Environment& environment, const std::string& config_file,
                const std::string& credentials_directory, const Unit* unit) {
  return Merger(sources, environment, credentials_directory, unit).merge(config_file);
}

void requireNoProblems(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  json::array details;
  for (const auto& problem : problems) {
    if (problem.warning) continue;
    lines.push_back(fmt::format("{}: {} [{}] → {}", problem.variable, problem.message, problem.origin, problem.hint));
    details.push_back(json::object{{"setting", problem.setting},
                                   {"variable", problem.variable},
                                   {"message", problem.message},
                                   {"origin", problem.origin},
                                   {"hint", problem.hint}});
  }
  if (lines.empty()) return;
  // What was not read says nothing about the configuration: to whoever may read it, it may be right.
  if (std::any_of(problems.begin(), problems.end(), [](const Problem& one) { return one.forbidden; }))
    throw Error(Code::Permission, fmt::format("the configuration cannot be read:\n  {}", join(lines, "\n  ")),
                "run it as a user who may read it")
        .with(details);
  throw Error(Code::Config, fmt::format("the configuration is invalid:\n  {}", join(lines, "\n  ")), hintToValidate())
      .with(details);
}

}  // namespace aragora::config
