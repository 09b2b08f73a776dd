// An answer to a request of ours is read to the same end in whatever pieces it comes, or called malformed.
#include <cstdlib>

#include "common/net/failure.h"
#include "common/net/http_answer.h"

namespace {
std::string read(std::string_view text, std::size_t piece) {
  using namespace aragora::net;
  std::string said;
  try {
    std::string bytes;
    std::optional<Body> body;
    for (std::size_t at = 0; at < text.size() && !(body && body->complete()); at += piece) {
      bytes += text.substr(at, piece);
      if (!body) {
        std::size_t used = 0;
        const auto head = parseHead(bytes, used);
        if (!head) continue;
        body.emplace(*head, false);
        bytes.erase(0, used);
      }
      bytes.erase(0, body->take(bytes, [&](std::string_view part) { said += part; }));
    }
    said += body && body->complete() ? "|end" : "|cut";
  } catch (const Failure&) {
    said = "malformed";
  }
  return said;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (read(text, 1 + data[0] % 16) != read(text, text.size() + 1)) std::abort();
  return 0;
}
