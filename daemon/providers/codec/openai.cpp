// OpenAI's Chat Completions, spoken by many servers; OpenRouter is one of them, with headers of its own and errors
// inside answers of status 200, whose code is the status that it would have been.
#include <cmath>
#include <set>

#include "common/base/text.h"
#include "common/net/retry.h"
#include "daemon/providers/codec/codec.h"

namespace aragora::providers {

namespace {
using Next = CallError::Next;

bool outOfMoney(std::string_view code) {
  static const std::set<std::string_view> kCodes = {"credit_balance_exhausted", "organization_spend_limit_exceeded",
                                                    "project_spend_limit_exceeded", "organization_usage_limit_exceeded",
                                                    "insufficient_quota"};
  return kCodes.count(code) > 0;
}

// What OpenRouter calls the same thing whatever the status and the vendor behind it.
bool passing(std::string_view error_type) {
  static const std::set<std::string_view> kTypes = {
      "rate_limit_exceeded", "provider_overloaded", "provider_unavailable", "timeout", "server",
      "server_error",        "server_is_overloaded"};
  return kTypes.count(error_type) > 0;
}

// `status` 0 within an answer of 200.
CallError errorOf(const json::object& error, int status, bool asked_to_wait) {
  const auto number = static_cast<int>(std::clamp<std::int64_t>(jsonIntegerOr(error, "code", status), 0, 999));
  const auto* metadata = jsonObject(error, "metadata");
  const auto type = jsonTextOr(error, "type", "");
  const auto code = jsonTextOr(error, "code", metadata != nullptr ? jsonTextOr(*metadata, "error_type", "") : "");
  const bool again = !outOfMoney(code) && !outOfMoney(type) &&
                     (net::statusWorthAnotherTry(number) || passing(code) || (number == 402 && asked_to_wait) ||
                      (number == 0 && passing(type)));
  auto reason = number == 0 ? std::string("an error") : fmt::format("status {}", number);
  if (const auto& word = code.empty() ? type : code; !word.empty()) reason += fmt::format(" ({})", printable(word, 60));
  return {reason, again ? Next::Again : Next::GiveUp};
}

void throwError(const json::object& holder) {
  if (const auto* error = jsonObject(holder, "error")) throw errorOf(*error, 0, false);
  if (const auto text = jsonText(holder, "error")) throw CallError("an error", Next::GiveUp);
}

void readUsage(const json::object& object, Answer& answer) {
  const auto* usage = jsonObject(object, "usage");
  if (usage == nullptr) return;
  answer.tokens_in = jsonIntegerOr(*usage, "prompt_tokens", 0);
  answer.tokens_out = jsonIntegerOr(*usage, "completion_tokens", 0);
  const auto cost = jsonNumberOr(*usage, "cost", -1);
  if (cost >= 0 && cost < 1e9) answer.cost_micros = std::llround(cost * 1e6);
}

void readFinish(const json::object& choice, Answer& answer) {
  throwError(choice);
  const auto reason = jsonTextOr(choice, "finish_reason", "");
  if (reason == "error") throw CallError("an error in the middle of the answer", Next::Again);
  if (reason == "content_filter") throw CallError("the answer was filtered", Next::GiveUp);
  if (reason == "length") answer.truncated = true;
}

const json::object* firstChoice(const json::object& object) {
  const auto* choices = jsonArray(object, "choices");
  return choices != nullptr && !choices->empty() ? choices->front().if_object() : nullptr;
}

void refused(const json::object& message) {
  if (!jsonTextOr(message, "refusal", "").empty()) throw CallError("the model refused to answer", Next::GiveUp);
}

class Reader : public StreamReader {
 public:
  void take(const SseEvent& event, const OnDelta& on_delta) override {
    if (trim(event.data) == "[DONE]") {
      complete_ = true;
      return;
    }
    const auto object = objectOf(event.data);
    throwError(object);
    if (answer_.model.empty()) answer_.model = jsonTextOr(object, "model", "");
    readUsage(object, answer_);
    const auto* choice = firstChoice(object);
    if (choice == nullptr) return;
    readFinish(*choice, answer_);
    const auto* delta = jsonObject(*choice, "delta");
    if (delta == nullptr) return;
    refused(*delta);
    const auto text = jsonTextOr(*delta, "content", "");
    answer_.text += text;
    if (on_delta && !text.empty()) on_delta(text);
  }
  bool complete() const override { return complete_; }
  Answer finish() override {
    if (!complete_) throw CallError("the stream ended before the answer did", Next::Again);
    return requireText(std::move(answer_));
  }

 private:
  Answer answer_;
  bool complete_ = false;
};

enum class Dialect { OpenAi, OpenRouter };

class OpenAi : public Codec {
 public:
  OpenAi(CodecOptions options, Dialect dialect) : options_(std::move(options)), dialect_(dialect) {}

  WireRequest request(const Prompt& prompt) const override {
    json::object body{{"model", prompt.model},
                      {"messages", json::array{json::object{{"role", "system"}, {"content", prompt.system}},
                                               json::object{{"role", "user"}, {"content", prompt.user}}}}};
    if (prompt.stream) {
      body["stream"] = true;
      body["stream_options"] = json::object{{"include_usage", true}};
    }
    WireRequest request{"/chat/completions", {{"Content-Type", "application/json"}}, toJson(body)};
    request.headers.emplace_back("Accept", prompt.stream ? "text/event-stream" : "application/json");
    // A server of one's own may need no key.
    if (!options_.api_key.empty()) request.headers.emplace_back("Authorization", "Bearer " + options_.api_key.reveal());
    if (dialect_ == Dialect::OpenRouter) {  // names the caller in its statistics; both spellings are in use
      request.headers.emplace_back("X-Title", "Aragora");
      request.headers.emplace_back("X-OpenRouter-Title", "Aragora");
    }
    return request;
  }

  Answer readAnswer(std::string_view text) const override {
    const auto object = objectOf(text);
    throwError(object);
    Answer answer;
    answer.model = jsonTextOr(object, "model", "");
    readUsage(object, answer);
    if (const auto* choice = firstChoice(object)) {
      readFinish(*choice, answer);
      if (const auto* message = jsonObject(*choice, "message")) {
        refused(*message);
        answer.text = jsonTextOr(*message, "content", "");
      }
    }
    return requireText(std::move(answer));
  }

  std::unique_ptr<StreamReader> readStream() const override { return std::make_unique<Reader>(); }

  CallError readRefusal(int status, std::string_view text, bool asked_to_wait) const override {
    const auto value = tryParseJson(text);
    const auto* error = value && value->is_object() ? jsonObject(value->get_object(), "error") : nullptr;
    return errorOf(error != nullptr ? *error : json::object{}, status, asked_to_wait);
  }

 private:
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

}  // namespace aragora::providers
