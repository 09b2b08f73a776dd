// Migrations split into statements or are refused.
#include "common/base/error.h"
#include "common/migrate/lexer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    aragora::migrate::splitStatements(text, "fuzz");
  } catch (const aragora::Error&) {
  }
  aragora::migrate::normalise(text);
  return 0;
}
