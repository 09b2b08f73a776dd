// What systemd hands to a service, for --unit and for commands typed beside an installed service: read from the unit's
// own files, because `systemctl show` does not print credentials and a machine without systemd has no systemctl.
// systemd.exec(5), systemd.unit(5), systemd 252.
#pragma once

#include "common/base/secret.h"
#include "common/config/environment.h"
#include "common/config/unit_places.h"

namespace aragora::config {

// LoadCredential=aragora:DIRECTORY hands over each file of it under this prefix.
inline constexpr std::string_view kHandedOver = "aragora_";

struct UnitCredential {
  std::optional<Secret> content;  // nullopt: it could not be read, and a problem says so
  std::string origin;
};

struct Unit {
  std::string name;  // with its suffix
  bool found = false;
  Environment environment;
  std::map<std::string, UnitCredential> credentials;
  std::string credentials_directory;  // what %d stands for
  std::string user;                   // empty: root
  std::string state_directory;        // of StateDirectory=, empty when there is none
  UnitPlaces places;
  std::vector<Problem> problems;
};

// One assignment of a [Service] section.
struct UnitLine {
  std::string key;
  std::string value;
  std::string origin;  // file:line
};
std::vector<UnitLine> parseUnitFile(std::string_view text, const std::string& file);

// `name` with or without .service. Looks where systemd looks, or in $SYSTEMD_UNIT_PATH.
Unit readUnit(const std::string& name);
// The unit that started this process itself, not one of its parents.
std::optional<std::string> unitOfThisProcess();
// The command that shows whoever reads this what this process sees.
std::string hintToValidate();

}  // namespace aragora::config
