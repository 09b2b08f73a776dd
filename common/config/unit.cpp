// --unit NAME: what systemd would hand to the service, asked of `systemctl show`.
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"
#include "common/config/env_file.h"
#include "common/config/loader.h"

namespace aragora::config {

namespace {
// `systemctl show -p Environment` prints assignments separated by spaces, shell-quoted where needed.
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
    } else if (quote == c) {
      quote = 0;
    } else if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
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
}  // namespace

namespace {
// systemd.exec(5): a name without a path, or a relative one, is looked for in the credential stores.
std::optional<std::string> credentialFile(const std::string& path, bool encrypted) {
  std::error_code ignored;
  if (startsWith(path, "/")) return path;
  for (const auto* store : {"/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore"}) {
    const auto file = fs::path(store + std::string(encrypted ? ".encrypted" : "")) / path;
    if (fs::exists(file, ignored)) return file.string();
  }
  return std::nullopt;
}

// NAME:PATH, or NAME:DIRECTORY, where each file is a credential called NAME_FILE.
void addCredential(const std::string& value, bool encrypted, std::map<std::string, std::string>& found) {
  const auto colon = value.find(':');
  const auto name = std::string(trim(value.substr(0, colon)));
  const auto path = colon == std::string::npos ? name : std::string(trim(value.substr(colon + 1)));
  const auto file = credentialFile(path, encrypted);
  std::error_code ignored;
  if (!file || !fs::is_directory(*file, ignored)) {
    found[name] = file.value_or("/etc/credstore/" + path);
    return;
  }
  for (const auto& item : fs::directory_iterator(*file, ignored))
    found[name + "_" + item.path().filename().string()] = item.path().string();
}

// The assignments of a unit and its drop-ins in their order; an empty one forgets those before (systemd.syntax(7)).
void readCredentials(std::string_view files, UnitEnvironment& result) {
  const auto whole = replaceAll(std::string(files), "\\\n", " ");
  for (const auto& line : split(whole, '\n')) {
    const auto equals = line.find('=');
    const auto key = std::string(trim(line.substr(0, equals)));
    const bool encrypted = key == "LoadCredentialEncrypted";
    if (equals == std::string::npos || (!encrypted && key != "LoadCredential")) continue;
    auto& found = encrypted ? result.encrypted_credentials : result.credentials;
    const auto value = std::string(trim(line.substr(equals + 1)));
    if (value.empty())
      found.clear();
    else
      addCredential(value, encrypted, found);
  }
}
}  // namespace

UnitEnvironment parseUnit(std::string_view output, const std::string& unit, std::string_view unit_files) {
  UnitEnvironment result;
  result.user = "root";
  readCredentials(unit_files, result);
  std::vector<std::pair<std::string, bool>> files;
  for (const auto& line : split(output, '\n')) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const auto name = line.substr(0, equals);
    const auto value = line.substr(equals + 1);
    if (name == "Environment") {
      for (const auto& word : shellWords(value)) {
        const auto at = word.find('=');
        if (at != std::string::npos)
          result.environment[word.substr(0, at)] = {word.substr(at + 1), fmt::format("Environment= of {}", unit)};
      }
    } else if (name == "EnvironmentFiles") {
      const auto options = value.find(" (ignore_errors=");
      files.emplace_back(value.substr(0, options), value.find("ignore_errors=yes") != std::string::npos);
    } else if (name == "User" && !value.empty()) {
      result.user = value;
    } else if (name == "StateDirectory" && !value.empty()) {
      result.state_directory = "/var/lib/" + split(split(value, ' ').front(), ':').front();
    } else if (name == "LoadState" && value != "loaded") {
      result.problems.push_back({"unit", unit, fmt::format("systemd does not know the unit ({})", value), unit,
                                 "check the name with: systemctl list-units"});
    }
  }
  // systemd.exec(5): EnvironmentFile= overrides Environment=.
  for (const auto& [file, optional] : files) {
    std::error_code ignored;
    if (optional && !fs::exists(file, ignored)) continue;
    try {
      const auto parsed = parseEnvironmentFile(readFile(file, 1 << 20));
      for (const auto& entry : parsed.entries)
        result.environment[entry.name] = {entry.value, fmt::format("{}:{}", file, entry.line)};
      for (const auto& warning : parsed.warnings) {
        result.problems.push_back({"env_file", file, warning.message, fmt::format("{}:{}", file, warning.line),
                                   "systemd reads the file this way", true});
      }
    } catch (const Error& error) {
      result.problems.push_back({"env_file", file, error.what(), unit, "run as a user who may read it"});
    }
  }
  return result;
}

UnitEnvironment readUnit(const std::string& unit) {
  const auto outcome = runCommand({{"systemctl", "show", unit, "-p", "LoadState", "-p", "Environment", "-p",
                                    "EnvironmentFiles", "-p", "User", "-p", "StateDirectory"},
                                   {},
                                   false},
                                  std::chrono::seconds(5));
  if (outcome.status != 0) {
    throw Error(Code::Unreachable,
                fmt::format("systemctl show {} failed: {}", unit, printable(trim(outcome.error_output), 200)),
                "is systemd running here?");
  }
  const auto files = runCommand({{"systemctl", "cat", unit}, {}, false}, std::chrono::seconds(5));
  return parseUnit(outcome.output, unit, files.output);
}

}  // namespace aragora::config
