// OpenAI Chat Completions, and every server that speaks it (base URL). Poco is the transport. Retries: connection
// failures, 408, 429 and 5xx, at most twice, Retry-After honoured up to 8 s, always within the deadline.
#include <Poco/Exception.h>
#include <Poco/Net/Context.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/HTTPSClientSession.h>
#include <Poco/URI.h>

#include "common/base/log.h"
#include "common/base/text.h"
#include "daemon/providers/provider.h"

namespace aragora::providers {

namespace {
constexpr std::size_t kAnswerLimit = 4U << 20;
constexpr int kTries = 3;

struct Failure {
  std::string reason;
  bool retry = false;
  std::chrono::milliseconds wait{500};
};

class OpenAiProvider : public Provider {
 public:
  explicit OpenAiProvider(OpenAiOptions options) : options_(std::move(options)), uri_(options_.base_url) {
    while (endsWith(options_.base_url, "/")) options_.base_url.pop_back();
    uri_ = Poco::URI(options_.base_url + "/chat/completions");
  }

  std::string_view name() const override { return "openai"; }

  Answer ask(const Question& question) override {
    const auto deadline = std::min(question.deadline, deadlineIn(options_.call_timeout));
    std::string last;
    for (int attempt = 1; attempt <= kTries; ++attempt) {
      if (question.cancelled != nullptr && *question.cancelled)
        throw Error(Code::Interrupted, "the debate was cancelled");
      Answer answer;
      const auto failure = tryOnce(question, deadline, answer);
      if (!failure) return answer;
      last = failure->reason;
      if (!failure->retry || attempt == kTries || remaining(deadline) <= failure->wait) break;
      log::info("{}: {}; trying again", question.agent, failure->reason);
      std::this_thread::sleep_for(failure->wait);
    }
    throw Error(Code::Unreachable, fmt::format("{} did not answer: {}", uri_.getHost(), last));
  }

 private:
  std::string requestBody(const Question& question) const {
    return toJson(json::object{{"model", question.model.empty() ? options_.default_model : question.model},
                               {"messages", json::array{json::object{{"role", "system"}, {"content", question.system}},
                                                        json::object{{"role", "user"}, {"content", question.user}}}}});
  }

  std::unique_ptr<Poco::Net::HTTPClientSession> connect(std::chrono::milliseconds within) const {
    std::unique_ptr<Poco::Net::HTTPClientSession> session;
    if (uri_.getScheme() == "https") {
      Poco::Net::Context::Ptr context =
          new Poco::Net::Context(Poco::Net::Context::TLS_CLIENT_USE, "", Poco::Net::Context::VERIFY_STRICT, 9, true);
      context->requireMinimumProtocol(Poco::Net::Context::PROTO_TLSV1_2);
      context->enableExtendedCertificateVerification(true);
      session = std::make_unique<Poco::Net::HTTPSClientSession>(uri_.getHost(), uri_.getPort(), context);
    } else {
      session = std::make_unique<Poco::Net::HTTPClientSession>(uri_.getHost(), uri_.getPort());
    }
    session->setTimeout(Poco::Timespan(within.count() * 1000));
    return session;
  }

  std::optional<Failure> tryOnce(const Question& question, Deadline deadline, Answer& answer) {
    const auto left = remaining(deadline);
    if (left.count() == 0) return Failure{"no time left"};
    try {
      const auto session = connect(left);
      const auto body = requestBody(question);
      Poco::Net::HTTPRequest request(Poco::Net::HTTPRequest::HTTP_POST, uri_.getPathAndQuery(),
                                     Poco::Net::HTTPMessage::HTTP_1_1);
      request.setContentType("application/json");
      request.setContentLength(static_cast<std::streamsize>(body.size()));
      if (!options_.api_key.empty()) request.set("Authorization", "Bearer " + options_.api_key.reveal());
      session->sendRequest(request) << body;
      Poco::Net::HTTPResponse response;
      auto& stream = session->receiveResponse(response);
      std::string text;
      std::array<char, 16384> buffer{};
      while (stream.read(buffer.data(), buffer.size()) || stream.gcount() > 0) {
        text.append(buffer.data(), static_cast<std::size_t>(stream.gcount()));
        if (text.size() > kAnswerLimit) return Failure{"the answer is larger than 4 MB"};
        if (remaining(deadline).count() == 0) return Failure{"the answer took too long"};
      }
      // A cut connection ends the stream without an exception.
      if (session->networkException() != nullptr) return Failure{"the connection broke", true};
      return readAnswer(response, text, answer);
    } catch (const Poco::Exception& error) {
      return Failure{printable(error.displayText(), 160), true};
    }
  }

  static std::optional<Failure> readAnswer(const Poco::Net::HTTPResponse& response, const std::string& text,
                                           Answer& answer) {
    const int status = response.getStatus();
    if (status != 200) {
      Failure failure{fmt::format("status {}", status), status == 408 || status == 429 || status >= 500};
      if (const auto seconds = parseInteger(response.get("Retry-After", "")))
        failure.wait = std::chrono::seconds(std::clamp<std::int64_t>(*seconds, 0, 8));
      if (const auto value = tryParseJson(text); value && value->is_object()) {
        if (const auto* error = jsonObject(value->get_object(), "error"))
          failure.reason +=
              fmt::format(" ({})", printable(jsonTextOr(*error, "code", jsonTextOr(*error, "type", "")), 60));
      }
      return failure;
    }
    const auto value = tryParseJson(text);
    if (!value || !value->is_object()) return Failure{"the answer is not JSON", true};
    const auto& object = value->get_object();
    const auto* choices = jsonArray(object, "choices");
    const auto* first = choices != nullptr && !choices->empty() ? choices->front().if_object() : nullptr;
    const auto* message = first != nullptr ? jsonObject(*first, "message") : nullptr;
    const auto content = message != nullptr ? jsonText(*message, "content") : std::nullopt;
    if (!content || trim(*content).empty()) return Failure{"the answer has no content"};
    answer.text = *content;
    answer.model = jsonTextOr(object, "model", "");
    if (const auto* usage = jsonObject(object, "usage")) {
      answer.tokens_in = jsonIntegerOr(*usage, "prompt_tokens", 0);
      answer.tokens_out = jsonIntegerOr(*usage, "completion_tokens", 0);
    }
    return std::nullopt;
  }

  OpenAiOptions options_;
  Poco::URI uri_;
};
}  // namespace

std::unique_ptr<Provider> makeOpenAiProvider(OpenAiOptions options) {
  return std::make_unique<OpenAiProvider>(std::move(options));
}

}  // namespace aragora::providers
