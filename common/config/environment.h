// Variables with their origins: of the process, of environment files, of a unit.
#pragma once

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

Environment processEnvironment();
// As systemd reads it; what it cannot read, and what a shell would read otherwise, becomes a problem with `hint`.
void addEnvironmentFile(Environment& environment, const std::string& file, std::vector<Problem>& problems,
                        const std::string& hint);

}  // namespace aragora::config
