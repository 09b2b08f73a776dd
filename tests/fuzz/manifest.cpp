// A manifest is refused or safe: names stay inside its directory, and its text comes back the same.
#include <cstdlib>

#include "common/backup/manifest.h"
#include "common/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto manifest = aragora::backup::parseManifest(text);
    for (const auto& file : manifest.files) {
      if (file.path.find(0x2f) != std::string::npos || file.path[0] == 0x2e) std::abort();
    }
    if (aragora::backup::serialise(aragora::backup::parseManifest(aragora::backup::serialise(manifest))) !=
        aragora::backup::serialise(manifest))
      std::abort();
  } catch (const aragora::Error&) {
  }
  return 0;
}
