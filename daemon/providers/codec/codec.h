// How a vendor's API is spoken: questions to bytes and answers from bytes, whole or as a stream of events. Knows no
// network, no retries and no debates. Immutable, any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/providers/provider.h"
#include "daemon/providers/sse.h"

namespace aragora::providers {

// The provider answered, and not with what was asked for. Its own words are not repeated: they may hold the key.
class CallError : public Error {
 public:
  enum class Next { Again, GiveUp };
  CallError(const std::string& reason, Next next) : Error(Code::Unreachable, reason), next_(next) {}
  bool again() const { return next_ == Next::Again; }

 private:
  Next next_;
};

struct Prompt {
  std::string model;
  std::string system;
  std::string user;
  bool stream = false;
};

struct WireRequest {
  std::string path;  // behind the base URL
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

class StreamReader {
 public:
  virtual ~StreamReader() = default;
  // Throws CallError for an error in the stream.
  virtual void take(const SseEvent& event, const OnDelta& on_delta) = 0;
  // The protocol's own end came: without it a stream was cut, however well the connection ended.
  virtual bool complete() const = 0;
  // Throws CallError when it is not complete or says nothing.
  virtual Answer finish() = 0;
};

class Codec {
 public:
  virtual ~Codec() = default;
  virtual WireRequest request(const Prompt& prompt) const = 0;
  // Of status 200, which may hold an error all the same. Throws CallError.
  virtual Answer readAnswer(std::string_view text) const = 0;
  virtual std::unique_ptr<StreamReader> readStream() const = 0;
  // What another status means. `asked_to_wait`: it came with a time after which to try again.
  virtual CallError readRefusal(int status, std::string_view text, bool asked_to_wait) const = 0;
};

struct CodecOptions {
  Secret api_key;
  std::int64_t max_output_tokens = 8192;
};
std::unique_ptr<Codec> makeAnthropicCodec(CodecOptions options);
std::unique_ptr<Codec> makeOpenAiCodec(CodecOptions options);
std::unique_ptr<Codec> makeOpenRouterCodec(CodecOptions options);

// Shared by the codecs. The whole object, or CallError.
json::object objectOf(std::string_view text);
// Throws CallError when it says nothing.
Answer requireText(Answer answer);

}  // namespace aragora::providers
