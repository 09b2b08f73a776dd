// What a provider answers, whole or as a stream, gives an answer that says something, or a CallError: nothing else.
#include <cstdlib>

#include "common/base/text.h"
#include "daemon/providers/codec/codec.h"

namespace {
using namespace aragora::providers;

template <typename Call>
void check(const Call& call) {
  try {
    if (aragora::trim(call().text).empty()) std::abort();
  } catch (const CallError&) {
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& codec : {makeAnthropicCodec({}), makeOpenAiCodec({}), makeOpenRouterCodec({})}) {
    check([&] { return codec->readAnswer(text); });
    (void)codec->readRefusal(429, text, true).again();
    check([&] {
      const auto reader = codec->readStream();
      SseParser parser;
      std::string shown;
      parser.feed(text,
                  [&](const SseEvent& event) { reader->take(event, [&](std::string_view part) { shown += part; }); });
      auto answer = reader->finish();
      if (answer.text != shown) std::abort();
      return answer;
    });
  }
  return 0;
}
