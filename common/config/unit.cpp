#include "common/config/unit.h"

#include <unistd.h>

#include <cstdlib>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/interrupt.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"

namespace aragora::config {

namespace {
constexpr std::size_t kUnitLimit = 1 << 20;
constexpr std::size_t kCredentialLimit = 1 << 20;

std::vector<fs::path> searchPath() {
  if (const char* given = std::getenv("SYSTEMD_UNIT_PATH"); given != nullptr && *given != '\0') {
    std::vector<fs::path> result;
    for (const auto& part : split(given, ':')) {
      if (!part.empty()) result.emplace_back(part);
    }
    return result;
  }
  return {"/etc/systemd/system.control",   "/run/systemd/system.control", "/run/systemd/transient",
          "/etc/systemd/system",           "/run/systemd/system",         "/run/systemd/generator",
          "/usr/local/lib/systemd/system", "/lib/systemd/system",         "/usr/lib/systemd/system"};
}

// aragora-x@7.service: its own name first, then the template's, then what it shares with others.
std::vector<std::string> namesOf(const std::string& unit) {
  std::vector<std::string> names = {unit};
  const auto at = unit.find('@');
  if (at != std::string::npos) names.push_back(unit.substr(0, at + 1) + ".service");
  for (auto dash = unit.rfind('-'); dash != std::string::npos && dash > 0; dash = unit.rfind('-', dash - 1))
    names.push_back(unit.substr(0, dash + 1) + ".service");
  names.emplace_back("service");
  return names;
}

// The unit's file, then its drop-ins in the order in which they count.
std::vector<fs::path> filesOf(const std::string& unit) {
  const auto directories = searchPath();
  std::vector<fs::path> files;
  std::map<std::string, fs::path> drop_ins;
  std::error_code ignored;
  const auto names = namesOf(unit);
  for (const auto& name : names) {
    for (const auto& directory : directories) {
      const bool fragment = name == unit || name.find("@.") != std::string::npos;
      if (fragment && files.empty() && fs::exists(directory / name, ignored)) files.push_back(directory / name);
      for (const auto& entry : fs::directory_iterator(directory / (name + ".d"), ignored)) {
        if (entry.path().extension() == ".conf") drop_ins.emplace(entry.path().filename().string(), entry.path());
      }
    }
  }
  if (files.empty()) return files;
  for (const auto& [name, path] : drop_ins) files.push_back(path);
  return files;
}

// Words of Environment=, quoted where needed.
std::vector<std::string> shellWords(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == 0 && (c == ' ' || c == '\t')) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
      in_word = true;
    } else if (quote != 0 && quote == c) {
      quote = 0;
    } else if (c == '\\' && i + 1 < text.size()) {
      word += text[++i];
      in_word = true;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (in_word) words.push_back(word);
  return words;
}

class Reader {
 public:
  explicit Reader(const std::string& name) {
    unit_.name = endsWith(name, ".service") ? name : name + ".service";
    unit_.credentials_directory = "/run/credentials/" + unit_.name;
  }

  Unit read() {
    const auto files = filesOf(unit_.name);
    if (files.empty()) return refuse("systemd does not know the unit", "check the name with: systemctl list-units");
    std::error_code ignored;
    if (fs::equivalent(files.front(), "/dev/null", ignored))
      return refuse("the unit is masked", fmt::format("systemctl unmask {}", unit_.name));
    unit_.found = true;
    for (const auto& file : files) {
      try {
        for (const auto& line : parseUnitFile(readFile(file, kUnitLimit), file.string())) apply(line);
      } catch (const Error& error) {
        interrupt::check();
        problem(file.string(), error.what(), file.string(), asRoot());
      }
    }
    // systemd.exec(5): EnvironmentFile= overrides Environment=.
    for (const auto& [file, optional] : environment_files_) {
      if (optional && !fs::exists(file, ignored) && !ignored) continue;
      addEnvironmentFile(unit_.environment, file, unit_.problems, asRoot());
    }
    for (const auto& name : unset_) unit_.environment.erase(name);
    for (const auto& [id, source] : sources_) readCredential(id, source);
    if (!unit_.state_directory.empty()) unit_.places.writable.push_back(unit_.state_directory);
    return std::move(unit_);
  }

 private:
  struct Source {
    std::string path;
    bool encrypted = false;
    std::string origin;
  };

  void problem(std::string what, std::string message, std::string origin, std::string hint) {
    unit_.problems.push_back({"unit", std::move(what), std::move(message), std::move(origin), std::move(hint)});
  }

  Unit refuse(std::string message, std::string hint) {
    problem(unit_.name, std::move(message), unit_.name, std::move(hint));
    return std::move(unit_);
  }

  std::string asRoot() const {
    return ::geteuid() == 0 ? std::string("check the path") : fmt::format("as root: aragora --unit {} …", unit_.name);
  }

  std::string expand(std::string_view text) const {
    const auto stem = unit_.name.substr(0, unit_.name.size() - std::string_view(".service").size());
    const auto at = stem.find('@');
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char next = text[i] == '%' && i + 1 < text.size() ? text[i + 1] : '\0';
      const std::optional<std::string> value = next == '%'   ? std::optional<std::string>("%")
                                               : next == 'n' ? unit_.name
                                               : next == 'N' ? stem
                                               : next == 'p' ? stem.substr(0, at)
                                               : next == 'i'
                                                   ? (at == std::string::npos ? std::string() : stem.substr(at + 1))
                                               : next == 'd' ? unit_.credentials_directory
                                               : next == 'E' ? std::optional<std::string>("/etc")
                                               : next == 'S' ? std::optional<std::string>("/var/lib")
                                               : next == 't' ? std::optional<std::string>("/run")
                                                             : std::nullopt;
      result += value ? *value : std::string(1, text[i]);
      if (value) ++i;
    }
    return result;
  }

  // An empty assignment takes back what was assigned before.
  void apply(const UnitLine& line) {
    const auto value = expand(line.value);
    if (line.key == "Environment") {
      if (value.empty()) unit_.environment.clear();
      for (const auto& word : shellWords(value)) {
        const auto at = word.find('=');
        if (at != std::string::npos) unit_.environment[word.substr(0, at)] = {word.substr(at + 1), line.origin};
      }
    } else if (line.key == "EnvironmentFile") {
      if (value.empty()) environment_files_.clear();
      const bool optional = startsWith(value, "-");
      if (!value.empty()) environment_files_.emplace_back(optional ? value.substr(1) : value, optional);
    } else if (line.key == "UnsetEnvironment") {
      if (value.empty()) unset_.clear();
      for (const auto& word : shellWords(value)) unset_.push_back(word.substr(0, word.find('=')));
    } else if (line.key == "LoadCredential" || line.key == "LoadCredentialEncrypted") {
      addSource(value, line.key == "LoadCredentialEncrypted", line.origin);
    } else if (line.key == "SetCredential") {
      const auto colon = value.find(':');
      if (value.empty()) unit_.credentials.clear();
      if (colon != std::string::npos)
        unit_.credentials[value.substr(0, colon)] = {Secret(value.substr(colon + 1)), line.origin};
    } else if (line.key == "User") {
      unit_.user = value;
    } else if (line.key == "StateDirectory") {
      unit_.state_directory = value.empty() ? value : "/var/lib/" + split(split(value, ' ').front(), ':').front();
    } else if (line.key == "ProtectSystem") {
      unit_.places.protect_system = value;
    } else if (line.key == "ReadOnlyPaths") {
      addPlaces(unit_.places.closed, value);
    } else if (line.key == "ReadWritePaths") {
      addPlaces(unit_.places.writable, value);
    }
  }

  static void addPlaces(std::vector<std::string>& places, const std::string& value) {
    if (value.empty()) places.clear();
    for (const auto& word : shellWords(value)) {
      const auto path = word.substr(std::min(word.find('/'), word.size()));  // behind - and +
      if (!path.empty()) places.push_back(path);
    }
  }

  void addSource(const std::string& value, bool encrypted, const std::string& origin) {
    if (value.empty()) return sources_.clear();
    const auto colon = value.find(':');
    const auto id = std::string(trim(value.substr(0, colon)));
    auto path = colon == std::string::npos ? id : std::string(trim(value.substr(colon + 1)));
    std::error_code ignored;
    if (!startsWith(path, "/")) {
      for (const auto* store : {"/etc/credstore", "/run/credstore", "/usr/lib/credstore"}) {
        const auto candidate = (fs::path(encrypted ? std::string(store) + ".encrypted" : store) / path).string();
        if (fs::exists(candidate, ignored)) {
          path = candidate;
          break;
        }
      }
    }
    if (!fs::is_directory(path, ignored)) {
      sources_[id] = {path, encrypted, origin};
      return;
    }
    for (const auto& entry : fs::directory_iterator(path, ignored)) {
      // Nothing reads what bears no setting's name: it may be unreadable.
      const bool ours = id + "_" == kHandedOver;
      if (ours && findByEnvironment(entry.path().filename().string()) == nullptr) continue;
      sources_[id + "_" + entry.path().filename().string()] = {entry.path().string(), encrypted, origin};
    }
  }

  void readCredential(const std::string& id, const Source& source) {
    auto& credential = unit_.credentials[id];
    credential.origin = fmt::format("{} ({})", source.path, source.origin);
    try {
      if (source.encrypted) {
        const auto outcome = runCommand({{"systemd-creds", "decrypt", "--name=" + id, source.path, "-"}, {}, false},
                                        std::chrono::seconds(10), kCredentialLimit);
        if (outcome.status != 0)
          throw Error(Code::Permission, fmt::format("systemd-creds cannot decrypt {}: {}", source.path,
                                                    printable(trim(outcome.error_output), 160)));
        credential.content = Secret(outcome.output);
      } else {
        credential.content = Secret(readFile(source.path, kCredentialLimit));
      }
    } catch (const Error& error) {
      interrupt::check();
      if (credential.content) return;  // SetCredential= is what counts when there is no file
      problem(id, error.what(), credential.origin, asRoot());
      unit_.problems.back().forbidden = error.code() == Code::Permission && ::geteuid() != 0;
    }
  }

  Unit unit_;
  std::vector<std::pair<std::string, bool>> environment_files_;
  std::vector<std::string> unset_;
  std::map<std::string, Source> sources_;
};
}  // namespace

std::vector<UnitLine> parseUnitFile(std::string_view text, const std::string& file) {
  std::vector<UnitLine> result;
  std::string section;
  std::string line;
  int number = 0;
  int started = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto part = std::string(trim(text.substr(0, end)));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (startsWith(part, "#") || startsWith(part, ";")) continue;  // also between continued lines
    if (line.empty()) started = number;
    line += part;
    if (endsWith(line, "\\")) {
      line.back() = ' ';
      continue;
    }
    const auto whole = std::exchange(line, {});
    if (startsWith(whole, "[")) section = whole;
    const auto equals = whole.find('=');
    if (section != "[Service]" || equals == std::string::npos) continue;
    result.push_back({std::string(trim(whole.substr(0, equals))), std::string(trim(whole.substr(equals + 1))),
                      fmt::format("{}:{}", file, started)});
  }
  return result;
}

Unit readUnit(const std::string& name) { return Reader(name).read(); }

std::optional<std::string> unitOfThisProcess() {
  const char* started = std::getenv("SYSTEMD_EXEC_PID");
  if (started == nullptr || started != fmt::format("{}", ::getpid())) return std::nullopt;
  for (const auto& line : split(readFileIfExists("/proc/self/cgroup").value_or(""), '\n')) {
    const auto name = line.substr(line.rfind('/') + 1);
    if (endsWith(name, ".service")) return name;
  }
  return "aragora.service";
}

std::string hintToValidate() {
  const auto unit = unitOfThisProcess();
  return unit ? fmt::format("as root: aragora validate-env --unit {}", *unit) : "run: aragora validate-env";
}

}  // namespace aragora::config
