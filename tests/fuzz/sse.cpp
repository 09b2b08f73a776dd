// Server-sent events are the same in whatever pieces they come.
#include <cstdlib>

#include "common/base/error.h"
#include "daemon/providers/sse.h"

namespace {
std::string read(std::string_view text, std::size_t piece) {
  aragora::providers::SseParser parser;
  std::string events;
  for (std::size_t at = 0; at < text.size(); at += piece)
    parser.feed(text.substr(at, piece),
                [&](const aragora::providers::SseEvent& event) { events += event.event + '\1' + event.data + '\2'; });
  return events;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (read(text, 1 + data[0] % 16) != read(text, text.size() + 1)) std::abort();
  return 0;
}
