// Every command of the binary, in the order in which help shows them.
#pragma once

#include <span>
#include <string_view>

#include "cli/command_line.h"

namespace aragora::cli {

struct CommandEntry {
  std::string_view name;
  std::string_view description;
  void (*declare)(CommandLine line);
  std::string_view exit_statuses;  // all that it can end with; help shows them, its man page says when
};

std::span<const CommandEntry> commandTable();

}  // namespace aragora::cli
