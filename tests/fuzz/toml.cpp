// Any text is entries and problems, never an exception, and problems never quote a value in full.
#include "common/config/toml_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<aragora::config::Problem> problems;
  aragora::config::parseToml(text, "fuzz.toml", problems);
  return 0;
}
