// A moment is read or refused; what was read is what is written of it, and is read again as the same.
#include "common/base/moment.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  aragora::parseDay(text);
  const auto at = aragora::parseMoment(text);
  if (const auto strict = aragora::fromIso(text); strict && strict != at) std::abort();
  if (!at || *at < 0) return 0;
  const auto written = aragora::toExactIso(*at);
  if (written.size() == 27 && aragora::parseMoment(written) != at) std::abort();  // years of four digits
  aragora::describeMoment(*at);
  return 0;
}
