// What systemd handed over is a copy that it made when the unit was started: a reload reads the same copy again.
// Whether the file that it was made of says something else by now, as far as this user sees that. Any thread.
#pragma once

#include "common/config/config.h"

namespace aragora::config {

struct HandedOver {
  std::vector<std::string> outdated;  // each with the file that was changed
  std::vector<std::string> unseen;    // whose file is not known, or not to be looked at; by name
};

// `sources`: the directory that our units hand over (LoadCredential=aragora:…).
HandedOver lookAtHandedOver(const Config& config, const std::filesystem::path& sources);

}  // namespace aragora::config
