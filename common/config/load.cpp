// Where a configuration is looked for: this process's own environment, an environment file, a unit, the service beside
// which a command is typed.
#include <unistd.h>

#include <cstdlib>

#include "common/base/account.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/config/loader.h"

namespace aragora::config {

namespace {
constexpr const char* kServiceUnit = "aragora.service";
const std::string kInstalled = fmt::format("{}/aragora.toml", kInstalledDirectory);

std::string valueOf(const Environment& environment, const char* name) {
  const auto found = environment.find(name);
  return found == environment.end() ? std::string() : found->second.value;
}

bool isServiceOrRoot() {
  const auto service = findAccount(kServiceUser);
  return ::geteuid() == 0 || (service && service->user == ::geteuid());
}

std::string ownConfigFile(const Environment& environment) {
  if (const auto xdg = valueOf(environment, "XDG_CONFIG_HOME"); startsWith(xdg, "/"))
    return xdg + "/aragora/aragora.toml";
  const auto home = valueOf(environment, "HOME");
  return startsWith(home, "/") ? home + "/.config/aragora/aragora.toml" : std::string();
}

// Where something was installed, its configuration is expected: without one, and with nothing else that says what this
// deployment is for, it would be another one, in development.
bool installedFileIsExpected(const Environment& environment) {
  for (const auto name : findSetting(key::kEnvironment)->environment) {
    if (!valueOf(environment, std::string(name).c_str()).empty()) return false;
  }
  std::error_code ignored;
  return isServiceOrRoot() && fs::is_directory(kInstalledDirectory, ignored);
}

std::string defaultConfigFile(const Environment& environment) {
  if (const auto given = valueOf(environment, "ARAGORA_CONFIG"); !given.empty()) return given;
  std::error_code hidden;  // not for this user's eyes
  if (fs::exists(kInstalled, hidden)) return kInstalled;
  std::error_code ignored;
  const auto own = ownConfigFile(environment);
  if (!own.empty() && fs::exists(own, ignored)) return own;
  return hidden || installedFileIsExpected(environment) ? kInstalled : std::string();
}

// Typed by hand, with nothing said about which configuration is meant.
bool besideService(const Sources& sources, const Environment& environment) {
  return !sources.config_file && !sources.env_file && environment.count("ARAGORA_CONFIG") == 0 &&
         findAccount(kServiceUser) && isServiceOrRoot() && !unitOfThisProcess();
}

// For the settings that this process's own environment says nothing about.
void addWhatTheServiceGets(Environment& environment, Unit& unit) {
  for (const auto& setting : catalogue()) {
    std::vector<std::string> names;
    for (const auto name : setting.environment) {
      for (const auto* suffix : {"", "_FILE", "_COMMAND"}) names.push_back(std::string(name) + suffix);
    }
    const bool own = std::any_of(names.begin(), names.end(),
                                 [&](const std::string& name) { return !valueOf(environment, name.c_str()).empty(); });
    for (const auto& name : names) {
      const auto found = unit.environment.find(name);
      if (!own && found != unit.environment.end()) environment[name] = found->second;
      if (!own) continue;
      unit.credentials.erase(name);
      unit.credentials.erase(lower(name));
    }
  }
  if (const auto found = unit.environment.find("ARAGORA_CONFIG"); found != unit.environment.end())
    environment[found->first] = found->second;
}

}  // namespace

Loaded load(const Sources& sources) {
  std::vector<Problem> early;
  Environment environment = processEnvironment();
  std::string credentials = valueOf(environment, "CREDENTIALS_DIRECTORY");
  std::optional<Unit> unit;
  if (sources.env_file || sources.unit) {
    for (const auto& name : environmentNames()) environment.erase(name);
  }
  if (sources.env_file) addEnvironmentFile(environment, *sources.env_file, early, "check the path and its permissions");
  if (sources.unit) {
    unit = readUnit(*sources.unit);
    credentials.clear();
    for (auto& [name, value] : unit->environment) environment[name] = value;
    // Its own home, and not ours, is where else a configuration may lie.
    for (const auto* name : {"HOME", "XDG_CONFIG_HOME"}) {
      if (unit->environment.count(name) == 0) environment.erase(name);
    }
  } else if (besideService(sources, environment)) {
    unit = readUnit(kServiceUnit);
    if (unit->found)
      addWhatTheServiceGets(environment, *unit);
    else
      unit.reset();
  }
  auto loaded = loadFrom(sources, environment, sources.config_file.value_or(defaultConfigFile(environment)),
                         credentials, unit ? &*unit : nullptr);
  if (unit) early.insert(early.end(), unit->problems.begin(), unit->problems.end());
  if (unit && unit->found) {
    loaded.unit = unit->name;
    loaded.unit_places = unit->places;
  }
  if (sources.unit && unit->found) {
    loaded.unit_user = unit->user.empty() ? "root" : unit->user;
    if (!unit->state_directory.empty() && !loaded.config.isSet(key::kStateDirectory))
      loaded.config.add(key::kStateDirectory, {Secret(unit->state_directory),
                                               {Source::Environment, fmt::format("StateDirectory of {}", unit->name)}});
  }
  loaded.problems.insert(loaded.problems.begin(), early.begin(), early.end());
  for (const auto& [name, value] : environment) loaded.environment_origins[name] = value.origin;
  return loaded;
}

}  // namespace aragora::config
