// What a file system can do beyond keeping files: CIFS, exFAT and their like lack some of it. Found out by trying.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace aragora {

namespace fs = std::filesystem;

struct Abilities {
  bool locks = true;               // flock(2)
  std::vector<std::string> lacks;  // of what can be done without: in words, with what it means
};

// In a folder of its own below `directory`, which is removed. Throws Error when nothing can be made there.
Abilities tryAbilities(const fs::path& directory);

// Whether link(2) or symlink(2) failed because there are none on that file system.
bool hasNoLinks(int error_number);
// A second name for a file, where there are none a copy. Throws Error.
void linkOrCopy(const fs::path& from, const fs::path& to);

}  // namespace aragora
