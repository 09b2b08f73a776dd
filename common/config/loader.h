// Merges all sources into a Config. Order: flag > environment > $CREDENTIALS_DIRECTORY, NAME_FILE or NAME_COMMAND >
// aragora.toml > default. Never throws for what an operator wrote: every mistake becomes a Problem, so that all are
// seen at once. An empty value is an unset one. One value set to different contents at one level (two aliases, or NAME
// and NAME_FILE) is a problem.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/config/config.h"

namespace aragora::config {

struct EnvironmentValue {
  std::string value;
  std::string origin;  // "env NAME" or "/etc/default/aragora:3"
};
using Environment = std::map<std::string, EnvironmentValue>;

struct Sources {
  std::map<std::string, std::string> flags;  // catalogue key -> text
  std::optional<std::string> config_file;    // --config: must exist
  std::optional<std::string> env_file;       // --env-file: replaces the settings of the process environment
  std::optional<std::string> unit;           // --unit: as systemd would start it
  bool run_commands = true;                  // run NAME_COMMAND programs
};

struct Loaded {
  Config config;
  std::vector<Problem> problems;
  std::string config_file;                                 // the file that was read, empty when none
  std::map<std::string, std::string> environment_origins;  // every variable that was seen; no values
  std::string unit_user;                                   // whom --unit runs as, empty without it
};

Loaded load(const Sources& sources);
// The same with everything given; used by load() and the tests.
Loaded loadFrom(const Sources& sources, const Environment& environment, const std::string& config_file,
                const std::string& credentials_directory);

// What `systemctl show` and the unit files say a service sees, for --unit.
struct UnitEnvironment {
  Environment environment;
  std::map<std::string, std::string> credentials;            // name -> file
  std::map<std::string, std::string> encrypted_credentials;  // name -> file, opened by systemd-creds
  std::string user;                                          // root when the unit names none
  std::string state_directory;                               // the first, absolute; empty when it has none
  std::vector<Problem> problems;
};
// `files`: the unit files as `systemctl cat` prints them, for the credentials that `show` calls unprintable.
UnitEnvironment parseUnit(std::string_view systemctl_show_output, const std::string& unit, std::string_view files = "");
UnitEnvironment readUnit(const std::string& unit);

// Lists every problem in one Error(Config); does nothing when there are none (warnings do not count).
void requireNoProblems(const std::vector<Problem>& problems);

}  // namespace aragora::config
