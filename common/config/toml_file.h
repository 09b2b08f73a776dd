// Reads aragora.toml into flat `section.key` texts with the line of each. Syntax errors, unknown keys and wrong types
// become problems, all of them, not the first.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.h"

namespace aragora::config {

struct TomlEntry {
  std::string key;
  std::string text;
  int line = 0;
};

// `name` is used in origins. Lists are joined with commas.
std::vector<TomlEntry> parseToml(std::string_view text, const std::string& name, std::vector<Problem>& problems);

}  // namespace aragora::config
