// Arbitrary bytes as the tar of a base backup: they are refused or read, and no name leads outside.
#include <cstdlib>

#include "common/backup/physical/base_source.h"
#include "common/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    aragora::backup::TarReader reader({[](const aragora::backup::TarEntry& entry) {
                                         if (entry.name.empty() || entry.name[0] == '/' ||
                                             ("/" + entry.name + "/").find("/../") != std::string::npos)
                                           std::abort();
                                       },
                                       [](std::string_view) {}, [] {}});
    reader.write(text.substr(0, size / 2));
    reader.write(text.substr(size / 2));
    reader.finish();
  } catch (const aragora::Error&) {
  }
  try {
    aragora::backup::BaseChecker checker;
    checker.write(text);
    checker.finish();
  } catch (const aragora::Error&) {
  }
  return 0;
}
