// Anthropic's Messages API, versions 2023-06-01 and 2026-10-21. No sampling parameters: current models take none, and
// the newer version refuses them. Event and block types that are not known are passed by, as its versioning policy
// asks.
#include "common/base/names.h"
#include "common/base/text.h"
#include "daemon/providers/codec/codec.h"

namespace aragora::providers {

namespace {
constexpr std::string_view kProvider = "anthropic";

constexpr std::pair<std::string_view, FailureKind> kTypes[] = {
    {"invalid_request_error", FailureKind::Request},
    {"authentication_error", FailureKind::Credential},
    {"billing_error", FailureKind::Money},
    {"permission_error", FailureKind::Credential},
    {"not_found_error", FailureKind::Credential},
    {"conflict_error", FailureKind::Request},
    {"request_too_large", FailureKind::Request},
    {"rate_limit_error", FailureKind::Throttled},
    {"api_error", FailureKind::Server},
    {"timeout_error", FailureKind::Server},
    {"overloaded_error", FailureKind::Server},
};

// Money that is spent does not come back by asking again, whatever the status says: enforced_spend_limit_reached,
// contract_spend_limit_reached, linked_organization_spend_limit_reached.
bool outOfMoney(std::string_view code) { return endsWith(code, "_spend_limit_reached"); }

// {"type": "error", "error": {"type": …, "details": {"error_code": …}}, "request_id": …}; `status` 0 within an answer
// of 200.
Failure errorOf(const json::object& object, int status, std::optional<std::chrono::milliseconds> asked = {}) {
  const auto* error = jsonObject(object, "error");
  const auto* details = error != nullptr ? jsonObject(*error, "details") : nullptr;
  const auto type = error != nullptr ? jsonTextOr(*error, "type", "") : std::string();
  const auto code = details != nullptr ? jsonTextOr(*details, "error_code", "") : std::string();
  auto kind = kindOfStatus(status);
  for (const auto& [known, meaning] : kTypes) {
    if (known == type) kind = meaning;
  }
  if (outOfMoney(code)) kind = FailureKind::Money;
  Failure failure(kind, reasonOf(status, type, code), kind == FailureKind::Money ? std::nullopt : asked);
  return failure.under(requestIdOf(jsonTextOr(object, "request_id", "")));
}

// What was written to the cache, by how long it is kept; what is not said which is the shorter.
void readCacheWrites(const json::object& usage, Usage& used) {
  if (const auto* kept = jsonObject(usage, "cache_creation")) {
    used.cache_write_5m = tokensOr(*kept, "ephemeral_5m_input_tokens", 0);
    used.cache_write_1h = tokensOr(*kept, "ephemeral_1h_input_tokens", 0);
  }
  const auto known = used.cache_write_5m + used.cache_write_1h;
  const auto all = tokensOr(usage, "cache_creation_input_tokens", known);
  if (all > known) used.cache_write_5m += all - known;
}

// Cumulative: what is said later replaces what was said before. Cached tokens are not among input_tokens.
void readUsage(const json::object& holder, Answer& answer) {
  const auto* usage = jsonObject(holder, "usage");
  if (usage == nullptr) return;
  auto& used = answer.usage;
  used.input = tokensOr(*usage, "input_tokens", used.input);
  used.cache_read = tokensOr(*usage, "cache_read_input_tokens", used.cache_read);
  readCacheWrites(*usage, used);
  used.output = tokensOr(*usage, "output_tokens", used.output);
  if (const auto* details = jsonObject(*usage, "output_tokens_details"))
    used.reasoning = tokensOr(*details, "thinking_tokens", used.reasoning);
  // No text was ever made of nothing: zeros are what a gateway says that did not count. What a stream said at its
  // beginning of its output says nothing of its end.
  answer.usage_known = tokensOr(*usage, "output_tokens", 0) > 0 && used.totalInput() > 0;
}

void readStop(const json::object& holder, Answer& answer) {
  const auto reason = jsonTextOr(holder, "stop_reason", "");
  if (reason == "refusal") throw Failure(FailureKind::Refused, "the model refused to answer");
  if (reason == "max_tokens" || reason == "model_context_window_exceeded") answer.truncated = true;
}

class Reader : public StreamReader {
 public:
  void take(const SseEvent& event, const OnDelta& on_delta) override {
    const auto object = objectOf(event.data);
    const auto type = jsonTextOr(object, "type", event.event);
    if (type == "error" || jsonObject(object, "error") != nullptr) throw errorOf(object, 0);
    if (type == "message_stop") {
      complete_ = true;
    } else if (type == "message_start") {
      if (const auto* message = jsonObject(object, "message")) start(*message);
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
    if (!complete_) throw Failure(FailureKind::Cut, "the stream ended before the answer did");
    return requireText(std::move(answer_));
  }

 private:
  static bool isText(const json::object& object, std::string_view type) {
    return jsonTextOr(object, "type", "") == type;
  }
  void start(const json::object& message) {
    answer_.model = printable(jsonTextOr(message, "model", ""), 200);
    answer_.request_id = requestIdOf(jsonTextOr(message, "id", ""));
    readUsage(message, answer_);
    answer_.usage_known = false;  // what it will have said is not counted yet
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
                      {"max_tokens", mostTokens(prompt, options_, kProvider)},
                      {"system", prompt.system},
                      {"messages", json::array{json::object{{"role", "user"}, {"content", prompt.user}}}}};
    if (prompt.stream) body["stream"] = true;
    if (followsShape(prompt, options_, kProvider))
      body["output_config"] =
          json::object{{"format", json::object{{"type", "json_schema"}, {"schema", prompt.shape->schema}}}};
    WireRequest request{"/v1/messages",
                        {{"anthropic-version", options_.version},
                         {"content-type", "application/json"},
                         {"accept", prompt.stream ? "text/event-stream" : "application/json"},
                         {"accept-encoding", "identity"}},
                        toJson(body)};
    if (!options_.api_key.empty()) request.headers.emplace_back("x-api-key", options_.api_key.reveal());
    if (!options_.bearer.empty()) request.headers.emplace_back("authorization", "Bearer " + options_.bearer.reveal());
    addOwnHeaders(request, options_);
    return request;
  }

  Answer readAnswer(std::string_view text) const override {
    const auto object = objectOf(text);
    if (jsonTextOr(object, "type", "") == "error" || jsonObject(object, "error") != nullptr) throw errorOf(object, 0);
    Answer answer;
    answer.model = printable(jsonTextOr(object, "model", ""), 200);
    answer.request_id = requestIdOf(jsonTextOr(object, "id", ""));
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

  Failure readRefusal(int status, std::string_view text,
                      std::optional<std::chrono::milliseconds> asked) const override {
    const auto value = tryParseJson(text);
    return errorOf(value && value->is_object() ? value->get_object() : json::object{}, status, asked);
  }

  std::string_view requestIdField() const override { return "request-id"; }

 private:
  CodecOptions options_;
};
}  // namespace

std::unique_ptr<Codec> makeAnthropicCodec(CodecOptions options) {
  return std::make_unique<Anthropic>(std::move(options));
}

}  // namespace aragora::providers
