// Reads aragora.toml into flat `section.key` texts with the line of each. Syntax errors, unknown keys and wrong types
// become problems, all of them, not the first.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
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

// Files of another shape: nothing but tables of one kind, each [[kind]].
struct TomlValue {
  std::variant<std::string, std::int64_t, bool, std::vector<std::string>> value;
  int line = 0;
};
struct TomlTable {
  std::map<std::string, TomlValue> values;
  int line = 0;
};
std::vector<TomlTable> parseTomlTables(std::string_view text, const std::string& kind, const std::string& name,
                                       std::vector<Problem>& problems);

}  // namespace aragora::config
