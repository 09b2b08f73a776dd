// How a vendor's API is spoken: questions to bytes and answers from bytes, whole or as a stream of events. Knows no
// network, no retries and no debates. Immutable, any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/models/catalogue.h"
#include "daemon/providers/failure.h"
#include "daemon/providers/provider.h"
#include "daemon/providers/sse.h"

namespace aragora::providers {

struct Prompt {
  std::string model;
  std::string system;
  std::string user;
  bool stream = false;
  std::optional<Shape> shape{};        // sent to models that are known to follow one, and to those that are not known
  std::int64_t max_output_tokens = 0;  // 0: as many as are configured; never more than the model makes
};

struct WireRequest {
  std::string path;  // behind the base URL
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

class StreamReader {
 public:
  virtual ~StreamReader() = default;
  // Throws Failure for an error in the stream.
  virtual void take(const SseEvent& event, const OnDelta& on_delta) = 0;
  // The protocol's own end came: without it a stream was cut, however well the connection ended.
  virtual bool complete() const = 0;
  // Throws Failure when it is not complete or says nothing.
  virtual Answer finish() = 0;
};

class Codec {
 public:
  virtual ~Codec() = default;
  virtual WireRequest request(const Prompt& prompt) const = 0;
  // Of status 200, which may hold an error all the same. Throws Failure.
  virtual Answer readAnswer(std::string_view text) const = 0;
  virtual std::unique_ptr<StreamReader> readStream() const = 0;
  // What another status means. `asked`: it came with a time after which to try again.
  virtual Failure readRefusal(int status, std::string_view text,
                              std::optional<std::chrono::milliseconds> asked) const = 0;
  // The field of the answer's head that its support asks for, of a refusal too; empty where the answer alone says it.
  virtual std::string_view requestIdField() const = 0;
};

struct CodecOptions {
  Secret api_key;
  std::int64_t max_output_tokens = 8192;
  Secret bearer{};                                        // Anthropic: a token, also instead of the key
  std::string version{"2026-10-21"};                      // of Anthropic's API
  std::vector<std::pair<std::string, Secret>> headers{};  // the operator's, in place of ours of the same name
  std::string organization{};                             // OpenAI: who is billed
  std::string project{};
  std::string referer{};  // OpenRouter: whom its statistics name
  std::string title{"Aragora"};
  bool deny_data_collection = false;  // OpenRouter: not to those who keep what they are asked
  bool vendors_own = false;           // OpenAI's own endpoint, which takes fields that compatible ones may not know
  std::shared_ptr<const models::Catalogue> models{};  // shared with others who look there; null: built in
};
std::unique_ptr<Codec> makeAnthropicCodec(CodecOptions options);
std::unique_ptr<Codec> makeOpenAiCodec(CodecOptions options);
std::unique_ptr<Codec> makeOpenRouterCodec(CodecOptions options);
std::unique_ptr<Codec> makeGeminiCodec(CodecOptions options);
std::unique_ptr<Codec> makeLocalCodec(CodecOptions options);  // a compatible server of one's own

// Shared by the codecs. The whole object, or Failure.
json::object objectOf(std::string_view text);
// What a provider says is its number of a call, where it can be one: it is recorded and shown, and is text of a
// stranger. Empty for what is longer than 128 characters, has others than visible ASCII, or holds what has to stay
// hidden.
std::string requestIdOf(std::string_view said);
// Throws Failure when it says nothing.
Answer requireText(Answer answer);
// A number of tokens; `fallback` where there is none that can be one.
std::int64_t tokensOr(const json::object& object, std::string_view key, std::int64_t fallback);
std::int64_t mostTokens(const Prompt& prompt, const CodecOptions& options, std::string_view provider);
bool followsShape(const Prompt& prompt, const CodecOptions& options, std::string_view provider);
void addOwnHeaders(WireRequest& request, const CodecOptions& options);
// What a status means when nothing else says it.
FailureKind kindOfStatus(int status);
// "status 429 (rate_limit_error, code)": words of the vendor's vocabulary, nothing else of what it said.
std::string reasonOf(int status, std::string_view type, std::string_view code);

}  // namespace aragora::providers
