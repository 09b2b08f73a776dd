// Where a unit lets its service write: ReadOnlyPaths=, ReadWritePaths=, ProtectSystem= and the directories that systemd
// makes for it, of systemd.exec(5). Values, any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace aragora::config {

struct UnitPlaces {
  std::vector<std::string> writable;
  std::vector<std::string> closed;
  std::string protect_system;  // as written: strict, full, true

  // The nearest place that is named around it decides, as it does for mounts.
  bool mayWrite(const std::filesystem::path& path) const;
};

}  // namespace aragora::config
