// Where the daemon can be asked to reload: a local socket in the directory that systemd made for this run, or in the
// state directory.
#pragma once

#include <filesystem>

#include "common/config/config.h"

namespace aragora::deployment {

// Of the daemon that this process is, or, in a program that its unit started, of the one beside it.
std::filesystem::path controlSocket(const config::Config& config);
// For a command: the same, and beside an installed service the service's. `config_file` tells, too, when it cannot be
// read and says nothing.
std::filesystem::path controlSocketToAsk(const config::Config& config, const std::string& config_file);

}  // namespace aragora::deployment
