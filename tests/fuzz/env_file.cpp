// Any text is entries with valid names.
#include <cstdlib>

#include "common/config/env_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& entry : aragora::config::parseEnvironmentFile(text).entries) {
    if (entry.name.empty() || entry.line < 1) std::abort();
  }
  return 0;
}
