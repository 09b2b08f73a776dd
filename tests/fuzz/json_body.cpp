// A body is an object or an Error; what is read is written and read again the same.
#include <cstdlib>

#include "common/base/error.h"
#include "daemon/web/request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  aragora::web::Request request;
  request.body = std::string(text);
  try {
    const auto object = request.jsonBody();
    const auto again = aragora::tryParseJson(aragora::toJson(object));
    if (!again || !again->is_object()) std::abort();
  } catch (const aragora::Error&) {
  }
  return 0;
}
