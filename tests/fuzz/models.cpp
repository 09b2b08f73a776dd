// Any text is models and problems, each with its file, never an exception; what a model costs is a price or unknown,
// and never more than what would have been reserved for it.
#include <cstdlib>

#include "common/base/text.h"
#include "common/models/catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace aragora;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<config::Problem> problems;
  const auto models = models::Catalogue::parse(text, "fuzz.toml", problems);
  for (const auto& problem : problems)
    if (!startsWith(problem.origin, "fuzz.toml") || problem.message.empty()) std::abort();
  for (const auto& model : models.models()) {
    const auto reserved = models::reservation(model, 300'000, 1'000);
    const auto costs =
        models::cost(model, {.input = 100'000, .cache_read = 100'000, .cache_write_1h = 100'000, .output = 1'000});
    if (reserved && (!costs || *costs > *reserved)) std::abort();
    if (costs && *costs < 0) std::abort();
  }
  return 0;
}
