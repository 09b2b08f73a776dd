// A request target decodes to valid UTF-8 without NUL, or not at all; matching never fails. A host is itself again.
#include <cstdlib>

#include "common/base/text.h"
#include "daemon/edge/target.h"
#include "daemon/web/router.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const auto router = [] {
    aragora::web::Router result;
    for (const auto* pattern : {"/api/debates", "/api/debates/{id}", "/api/debates/{id}/events"})
      result.add({.method = "GET", .pattern = pattern});
    return result;
  }();
  if (const auto target = aragora::edge::parseTarget(text)) {
    if (!aragora::validUtf8(target->path) || target->path.find(std::string(1, 0)) != std::string::npos) std::abort();
    router.match("GET", target->path);
  }
  if (const auto host = aragora::edge::parseAuthority(text); host && aragora::edge::parseAuthority(*host) != host)
    std::abort();
  return 0;
}
