// Anthropic's Messages API, version 2023-06-01. No sampling parameters: current models take none. Event and block types
// that are not known are passed by, as its versioning policy asks.
#include <set>

#include "common/base/text.h"
#include "common/net/retry.h"
#include "daemon/providers/codec/codec.h"

namespace aragora::providers {

namespace {
using Next = CallError::Next;
constexpr std::string_view kVersion = "2023-06-01";

// Money that is spent does not come back by asking again, whatever the status says.
bool outOfMoney(std::string_view code) {
  static const std::set<std::string_view> kCodes = {"enforced_spend_limit_reached", "contract_spend_limit_reached",
                                                    "linked_organization_spend_limit_reached"};
  return kCodes.count(code) > 0;
}

bool passing(std::string_view type) {
  static const std::set<std::string_view> kTypes = {"overloaded_error", "api_error", "timeout_error",
                                                    "rate_limit_error"};
  return kTypes.count(type) > 0;
}

// {"type": "error", "error": {"type": …, "details": {"error_code": …}}}; `status` 0 within an answer of 200.
CallError errorOf(const json::object& object, int status) {
  const auto* error = jsonObject(object, "error");
  const auto* details = error != nullptr ? jsonObject(*error, "details") : nullptr;
  const auto type = error != nullptr ? jsonTextOr(*error, "type", "") : std::string();
  const auto code = details != nullptr ? jsonTextOr(*details, "error_code", "") : std::string();
  const bool again = !outOfMoney(code) && (status == 0 ? passing(type) : net::statusWorthAnotherTry(status));
  auto reason = status == 0 ? std::string("an error") : fmt::format("status {}", status);
  if (!type.empty())
    reason += fmt::format(" ({}{})", printable(type, 60), code.empty() ? "" : ", " + printable(code, 60));
  return {reason, again ? Next::Again : Next::GiveUp};
}

// Cumulative: what is said later replaces what was said before. Cached tokens are not among input_tokens.
void readUsage(const json::object& holder, Answer& answer) {
  const auto* usage = jsonObject(holder, "usage");
  if (usage == nullptr) return;
  if (usage->contains("input_tokens"))
    answer.tokens_in = jsonIntegerOr(*usage, "input_tokens", 0) +
                       jsonIntegerOr(*usage, "cache_creation_input_tokens", 0) +
                       jsonIntegerOr(*usage, "cache_read_input_tokens", 0);
  answer.tokens_out = jsonIntegerOr(*usage, "output_tokens", answer.tokens_out);
}

void readStop(const json::object& holder, Answer& answer) {
  const auto reason = jsonTextOr(holder, "stop_reason", "");
  if (reason == "refusal") throw CallError("the model refused to answer", Next::GiveUp);
  if (reason == "max_tokens" || reason == "model_context_window_exceeded") answer.truncated = true;
}

class Reader : public StreamReader {
 public:
  void take(const SseEvent& event, const OnDelta& on_delta) override {
    const auto object = objectOf(event.data);
    const auto type = jsonTextOr(object, "type", event.event);
    if (type == "error") throw errorOf(object, 0);
    if (type == "message_stop") complete_ = true;
    if (type == "message_start") {
      if (const auto* message = jsonObject(object, "message")) {
        answer_.model = jsonTextOr(*message, "model", "");
        readUsage(*message, answer_);
      }
    } else if (type == "message_delta") {
      readUsage(object, answer_);
      if (const auto* delta = jsonObject(object, "delta")) readStop(*delta, answer_);
    } else if (type == "content_block_start") {
      if (const auto* block = jsonObject(object, "content_block"); block != nullptr && isText(*block, "text"))
        append(jsonTextOr(*block, "text", ""), on_delta);
    } else if (type == "content_block_delta") {
      if (const auto* delta = jsonObject(object, "delta"); delta != nullptr && isText(*delta, "text_delta"))
        append(jsonTextOr(*delta, "text", ""), on_delta);
    }
  }
  bool complete() const override { return complete_; }
  Answer finish() override {
    if (!complete_) throw CallError("the stream ended before the answer did", Next::Again);
    return requireText(std::move(answer_));
  }

 private:
  static bool isText(const json::object& object, std::string_view type) {
    return jsonTextOr(object, "type", "") == type;
  }
  void append(const std::string& text, const OnDelta& on_delta) {
    answer_.text += text;
    if (on_delta && !text.empty()) on_delta(text);
  }
  Answer answer_;
  bool complete_ = false;
};

class Anthropic : public Codec {
 public:
  explicit Anthropic(CodecOptions options) : options_(std::move(options)) {}

  WireRequest request(const Prompt& prompt) const override {
    json::object body{{"model", prompt.model},
                      {"max_tokens", options_.max_output_tokens},
                      {"system", prompt.system},
                      {"messages", json::array{json::object{{"role", "user"}, {"content", prompt.user}}}}};
    if (prompt.stream) body["stream"] = true;
    return {"/v1/messages",
            {{"x-api-key", options_.api_key.reveal()},
             {"anthropic-version", std::string(kVersion)},
             {"content-type", "application/json"},
             {"accept", prompt.stream ? "text/event-stream" : "application/json"}},
            toJson(body)};
  }

  Answer readAnswer(std::string_view text) const override {
    const auto object = objectOf(text);
    if (jsonTextOr(object, "type", "") == "error" || jsonObject(object, "error") != nullptr) throw errorOf(object, 0);
    Answer answer;
    answer.model = jsonTextOr(object, "model", "");
    readUsage(object, answer);
    readStop(object, answer);
    if (const auto* content = jsonArray(object, "content")) {
      for (const auto& block : *content) {
        if (const auto* part = block.if_object(); part != nullptr && jsonTextOr(*part, "type", "") == "text")
          answer.text += jsonTextOr(*part, "text", "");
      }
    }
    return requireText(std::move(answer));
  }

  std::unique_ptr<StreamReader> readStream() const override { return std::make_unique<Reader>(); }

  CallError readRefusal(int status, std::string_view text, bool) const override {
    const auto value = tryParseJson(text);
    return errorOf(value && value->is_object() ? value->get_object() : json::object{}, status);
  }

 private:
  CodecOptions options_;
};
}  // namespace

std::unique_ptr<Codec> makeAnthropicCodec(CodecOptions options) {
  return std::make_unique<Anthropic>(std::move(options));
}

}  // namespace aragora::providers
