// What a provider answers, whole or as a stream, gives an answer that says something, or a Failure: nothing else.
#include <cstdlib>

#include "common/base/text.h"
#include "daemon/providers/codec/codec.h"

namespace {
using namespace aragora::providers;

template <typename Call>
void check(const Call& call) {
  try {
    const auto answer = call();
    const auto& usage = answer.usage;
    if (aragora::trim(answer.text).empty()) std::abort();
    for (const auto tokens : {usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.output})
      if (tokens < 0) std::abort();
    if (answer.cost_picos.value_or(0) < 0) std::abort();
  } catch (const Failure&) {
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& codec : {makeAnthropicCodec({}), makeOpenAiCodec({}), makeOpenRouterCodec({}), makeGeminiCodec({}),
                            makeLocalCodec({})}) {
    check([&] { return codec->readAnswer(text); });
    (void)codec->readRefusal(429, text, {}).kind();
    check([&] {
      const auto reader = codec->readStream();
      SseParser parser;
      std::string shown;
      const OnDelta show = [&](std::string_view part) {
        shown += part;
        return true;
      };
      parser.feed(text, [&](const SseEvent& event) { reader->take(event, show); });
      auto answer = reader->finish();
      if (answer.text != shown) std::abort();
      return answer;
    });
  }
  return 0;
}
