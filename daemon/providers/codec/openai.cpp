// OpenAI's Chat Completions, spoken by many: OpenRouter, with headers and errors of its own; Gemini; servers of one's
// own. No sampling parameters: reasoning models refuse them.
#include <algorithm>
#include <cmath>

#include "common/base/text.h"
#include "daemon/providers/codec/chat_errors.h"
#include "daemon/providers/codec/codec.h"

namespace aragora::providers {

namespace {
enum class Dialect { OpenAi, OpenRouter, Gemini, Local };

std::string_view providerOf(Dialect dialect) {
  switch (dialect) {
    case Dialect::OpenAi:
      return "openai";
    case Dialect::OpenRouter:
      return "openrouter";
    case Dialect::Gemini:
      return "gemini";
    case Dialect::Local:
      return "local";
  }
  return {};
}

// Dollars as a JSON number, of which twelve digits behind the point count.
std::optional<std::int64_t> picosOf(const json::object& object, std::string_view key) {
  const auto dollars = jsonNumberOr(object, key, -1);
  return dollars >= 0 && dollars < 1e6 ? std::optional<std::int64_t>(std::llround(dollars * 1e12)) : std::nullopt;
}

// What OpenRouter took; with a key of one's own at the vendor behind it, what that takes comes on top.
std::optional<std::int64_t> costOf(const json::object& usage) {
  auto cost = picosOf(usage, "cost");
  if (!cost || !jsonFlagOr(usage, "is_byok", false)) return cost;
  const auto* details = jsonObject(usage, "cost_details");
  const auto upstream = details != nullptr ? picosOf(*details, "upstream_inference_cost") : std::nullopt;
  return upstream ? std::optional(*cost + *upstream) : std::nullopt;
}

// Cached tokens are among prompt_tokens. Some count what was reasoned in total_tokens alone.
void readUsage(const json::object& object, Dialect dialect, Answer& answer) {
  const auto* usage = jsonObject(object, "usage");
  if (usage == nullptr) return;
  auto& used = answer.usage;
  used = {};
  const auto prompt = tokensOr(*usage, "prompt_tokens", 0);
  const auto completion = tokensOr(*usage, "completion_tokens", 0);
  used.output = std::max(completion, tokensOr(*usage, "total_tokens", 0) - prompt);
  if (const auto* details = jsonObject(*usage, "prompt_tokens_details")) {
    used.cache_read = std::min(tokensOr(*details, "cached_tokens", 0), prompt);
    used.cache_write_5m = std::min(tokensOr(*details, "cache_write_tokens", 0), prompt - used.cache_read);
  }
  used.input = prompt - used.cache_read - used.cache_write_5m;
  if (const auto* details = jsonObject(*usage, "completion_tokens_details"))
    used.reasoning = tokensOr(*details, "reasoning_tokens", 0);
  // No text was ever made of nothing: zeros are what a gateway says that did not count.
  answer.usage_known = used.output > 0 && prompt > 0;
  if (dialect == Dialect::OpenRouter) answer.cost_picos = costOf(*usage);
}

void readFinish(const json::object& choice, Answer& answer) {
  throwChatError(choice);
  const auto reason = jsonTextOr(choice, "finish_reason", "");
  if (reason == "error") throw Failure(FailureKind::Server, "an error in the middle of the answer");
  if (reason == "content_filter") throw Failure(FailureKind::Refused, "the answer was filtered");
  if (reason == "length") answer.truncated = true;
}

const json::object* firstChoice(const json::object& object) {
  const auto* choices = jsonArray(object, "choices");
  return choices != nullptr && !choices->empty() ? choices->front().if_object() : nullptr;
}

void throwRefused(const json::object& message) {
  if (!jsonTextOr(message, "refusal", "").empty()) throw Failure(FailureKind::Refused, "the model refused to answer");
}

void readNames(const json::object& object, Answer& answer) {
  if (answer.model.empty()) answer.model = printable(jsonTextOr(object, "model", ""), 200);
  if (answer.request_id.empty()) answer.request_id = requestIdOf(jsonTextOr(object, "id", ""));
}

class Reader : public StreamReader {
 public:
  explicit Reader(Dialect dialect) : dialect_(dialect) {}
  void take(const SseEvent& event, const OnDelta& on_delta) override {
    if (trim(event.data) == "[DONE]") {
      complete_ = true;
      return;
    }
    const auto object = objectOf(event.data);
    throwChatError(object);
    readNames(object, answer_);
    readUsage(object, dialect_, answer_);
    const auto* choice = firstChoice(object);
    if (choice == nullptr) return;
    readFinish(*choice, answer_);
    const auto* delta = jsonObject(*choice, "delta");
    if (delta == nullptr) return;
    throwRefused(*delta);
    const auto text = jsonTextOr(*delta, "content", "");
    answer_.text += text;
    if (on_delta && !text.empty()) on_delta(text);
  }
  bool complete() const override { return complete_; }
  Answer finish() override {
    if (!complete_) throw Failure(FailureKind::Cut, "the stream ended before the answer did");
    return requireText(std::move(answer_));
  }

 private:
  Dialect dialect_;
  Answer answer_;
  bool complete_ = false;
};

class OpenAi : public Codec {
 public:
  OpenAi(CodecOptions options, Dialect dialect) : options_(std::move(options)), dialect_(dialect) {}

  WireRequest request(const Prompt& prompt) const override {
    const bool own = dialect_ == Dialect::OpenAi && options_.vendors_own;
    json::object body{{"model", prompt.model},
                      {"messages", json::array{json::object{{"role", "system"}, {"content", prompt.system}},
                                               json::object{{"role", "user"}, {"content", prompt.user}}}}};
    // What is reasoned counts in the newer of the two; compatible servers know the older.
    body[dialect_ == Dialect::OpenAi ? "max_completion_tokens" : "max_tokens"] =
        mostTokens(prompt, options_, providerOf(dialect_));
    if (own) body["store"] = false;
    if (dialect_ == Dialect::OpenRouter && options_.deny_data_collection)
      body["provider"] = json::object{{"data_collection", "deny"}};
    if (prompt.stream) {
      json::object stream{{"include_usage", true}};
      if (own) stream["include_obfuscation"] = false;
      body["stream"] = true;
      body["stream_options"] = std::move(stream);
    }
    if (followsShape(prompt, options_, providerOf(dialect_)))
      body["response_format"] = json::object{
          {"type", "json_schema"},
          {"json_schema",
           json::object{{"name", prompt.shape->name}, {"strict", true}, {"schema", prompt.shape->schema}}}};
    WireRequest request{"/chat/completions", {{"Content-Type", "application/json"}}, toJson(body)};
    request.headers.emplace_back("Accept", prompt.stream ? "text/event-stream" : "application/json");
    request.headers.emplace_back("Accept-Encoding", "identity");
    // A server of one's own may need no key.
    if (!options_.api_key.empty()) request.headers.emplace_back("Authorization", "Bearer " + options_.api_key.reveal());
    addVendorsHeaders(request);
    addOwnHeaders(request, options_);
    return request;
  }

  Answer readAnswer(std::string_view text) const override {
    const auto object = objectOf(text);
    throwChatError(object);
    Answer answer;
    readNames(object, answer);
    readUsage(object, dialect_, answer);
    if (const auto* choice = firstChoice(object)) {
      readFinish(*choice, answer);
      if (const auto* message = jsonObject(*choice, "message")) {
        throwRefused(*message);
        answer.text = jsonTextOr(*message, "content", "");
      }
    }
    return requireText(std::move(answer));
  }

  std::unique_ptr<StreamReader> readStream() const override { return std::make_unique<Reader>(dialect_); }

  Failure readRefusal(int status, std::string_view text,
                      std::optional<std::chrono::milliseconds> asked) const override {
    const auto value = tryParseJson(text);
    const json::object* holder = value ? value->if_object() : nullptr;
    // Gemini's endpoint answers with a list of one.
    if (const auto* list = value ? value->if_array() : nullptr; list != nullptr && !list->empty())
      holder = list->front().if_object();
    const auto* error = holder != nullptr ? jsonObject(*holder, "error") : nullptr;
    return chatError(error != nullptr ? *error : json::object{}, status, asked);
  }

  // OpenRouter's own id of what it made is in the answer, too: that is what its costs are asked by.
  std::string_view requestIdField() const override {
    switch (dialect_) {
      case Dialect::OpenAi:
      case Dialect::Local:
        return "x-request-id";
      case Dialect::OpenRouter:
        return "x-generation-id";
      case Dialect::Gemini:
        break;
    }
    return {};
  }

 private:
  void addVendorsHeaders(WireRequest& request) const {
    const auto add = [&](const char* name, const std::string& value) {
      if (!value.empty()) request.headers.emplace_back(name, value);
    };
    if (dialect_ == Dialect::OpenAi) {
      add("OpenAI-Organization", options_.organization);
      add("OpenAI-Project", options_.project);
    }
    if (dialect_ == Dialect::OpenRouter) {  // names the caller in its statistics; both spellings are in use
      add("HTTP-Referer", options_.referer);
      add("X-Title", options_.title);
      add("X-OpenRouter-Title", options_.title);
    }
  }

  CodecOptions options_;
  Dialect dialect_;
};
}  // namespace

std::unique_ptr<Codec> makeOpenAiCodec(CodecOptions options) {
  return std::make_unique<OpenAi>(std::move(options), Dialect::OpenAi);
}
std::unique_ptr<Codec> makeOpenRouterCodec(CodecOptions options) {
  return std::make_unique<OpenAi>(std::move(options), Dialect::OpenRouter);
}
std::unique_ptr<Codec> makeGeminiCodec(CodecOptions options) {
  return std::make_unique<OpenAi>(std::move(options), Dialect::Gemini);
}
std::unique_ptr<Codec> makeLocalCodec(CodecOptions options) {
  return std::make_unique<OpenAi>(std::move(options), Dialect::Local);
}

}  // namespace aragora::providers
