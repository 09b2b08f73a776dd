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
#include "common/config/unit.h"

namespace aragora::config {

// Of the installed service, and expected where it exists.
constexpr const char* kInstalledDirectory = "/etc/aragora";

// ARAGORA_SECRETS=handed-over: of secrets those count that systemd handed over under their own name, or that a flag
// gives.
inline constexpr std::string_view kSecretsVariable = "ARAGORA_SECRETS";
inline constexpr std::string_view kHandedOverAlone = "handed-over";
// What a credential says whose file is not there.
inline constexpr std::string_view kNotHandedOver = "not-handed-over";

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
  bool config_file_missing = false;                        // it was named or expected, and is not there
  std::map<std::string, std::string> environment_origins;  // every variable that was seen; no values
  std::string unit_user;                                   // whom --unit runs as, empty without it
  std::string unit;                                        // of --unit, or that this is typed beside; empty: none
  UnitPlaces unit_places;                                  // of that unit
};

// What is typed by root or the service's user beside an installed service finds what the unit finds: its variables and
// credentials count like this process's own, which shadow them.
Loaded load(const Sources& sources);
// The same with everything given; used by load() and the tests.
Loaded loadFrom(const Sources& sources, const Environment& environment, const std::string& config_file,
                const std::string& credentials_directory, const Unit* unit = nullptr);

// Lists every problem in one Error(Config), Error(Permission) when this user may not read something; does nothing when
// there are none (warnings do not count).
void requireNoProblems(const std::vector<Problem>& problems);

}  // namespace aragora::config
