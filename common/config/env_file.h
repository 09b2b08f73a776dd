// Environment files, read exactly as systemd reads EnvironmentFile= (systemd.exec(5), parse_env_file in systemd 252),
// with warnings where a reader used to a shell would expect something else. Pure function.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace aragora::config {

struct EnvironmentEntry {
  std::string name;
  std::string value;
  int line = 0;  // where the assignment starts
};

struct EnvironmentFile {
  std::vector<EnvironmentEntry> entries;  // in order; the last of a name wins
  struct Warning {
    int line = 0;
    std::string message;
  };
  std::vector<Warning> warnings;
};

EnvironmentFile parseEnvironmentFile(std::string_view text);

}  // namespace aragora::config
