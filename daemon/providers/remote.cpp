#include "daemon/providers/remote.h"

#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::providers {

namespace {
constexpr std::size_t kAnswerLimit = 4U << 20;

net::Url urlOf(const RemoteOptions& options) {
  auto base = options.base_url;
  while (endsWith(base, "/")) base.pop_back();
  const auto url = net::Url::parse(base);
  if (url && !url->host.empty() && (url->scheme == "https" || url->scheme == "http")) return *url;
  throw Error(Code::Config, fmt::format("the base URL of {} is no URL", options.name), "write it as https://host/path");
}

// What one try leaves for the next.
struct Outcome {
  bool shown = false;  // part of an answer was handed over
  std::optional<std::chrono::milliseconds> asked;
};

class Remote : public Provider {
 public:
  Remote(RemoteOptions options, std::unique_ptr<Codec> codec, const net::HttpClient& client)
      : options_(std::move(options)), url_(urlOf(options_)), codec_(std::move(codec)), client_(client) {}

  std::string_view name() const override { return options_.name; }

  Answer ask(const Question& question, const OnDelta& on_delta) override {
    const auto deadline = std::min(question.deadline, deadlineIn(options_.call_timeout));
    const Prompt prompt{question.model.empty() ? options_.default_model : question.model, question.system,
                        question.user, static_cast<bool>(on_delta)};
    net::Retry retry(options_.retry, deadline, question.stop);
    while (true) {
      Outcome outcome;
      std::string reason;
      bool again = false;
      try {
        return tryOnce(prompt, {deadline, options_.call_timeout, question.stop}, on_delta, outcome);
      } catch (const CallError& error) {
        reason = error.what();
        again = error.again();
      } catch (const net::Failure& failure) {
        reason = failure.what();
        again = failure.worthAnotherTry();
      }
      if (again && !outcome.shown && retry.again(outcome.asked)) {
        log::info("{}: {}; trying again", question.agent, reason);
        continue;
      }
      if (!question.stop.stop_requested()) log::warning("{}: {}; given up", question.agent, printable(reason, 200));
      throw Error(Code::Unreachable, fmt::format("{} did not answer: {}", url_.host, printable(reason, 200)));
    }
  }

 private:
  Answer tryOnce(const Prompt& prompt, const net::Limits& limits, const OnDelta& on_delta, Outcome& outcome) const {
    auto wire = codec_->request(prompt);
    net::Request request{.method = "POST", .url = url_, .limits = limits};
    request.url.path += wire.path;
    request.headers = std::move(wire.headers);
    request.content = net::Content::of(std::move(wire.body));
    const auto show = [&](std::string_view text) {
      outcome.shown = true;
      on_delta(text);
    };
    const OnDelta delta = on_delta ? OnDelta(show) : OnDelta();
    const auto reader = codec_->readStream();
    SseParser events;
    std::string text;
    net::Head head;
    bool streams = false;
    std::size_t received = 0;
    const auto take_head = [&](const net::Head& came) {
      head = came;
      streams = came.status == 200 && startsWith(lower(came.field("content-type")), "text/event-stream");
    };
    const auto take_body = [&](std::string_view bytes) {
      received += bytes.size();
      if (received > kAnswerLimit) throw CallError("the answer is larger than 4 MB", CallError::Next::GiveUp);
      if (streams)
        events.feed(bytes, [&](const SseEvent& event) { reader->take(event, delta); });
      else
        text += bytes;
    };
    try {
      client_.exchange(request, {take_head, take_body});
    } catch (const net::Failure&) {
      if (!streams || !reader->complete()) throw;  // otherwise everything was said before it broke
    }
    outcome.asked = net::askedPause(head.field("retry-after"), head.field("retry-after-ms"), nowMicros());
    if (streams) return reader->finish();
    if (head.status != 200) throw refusal(head, text, outcome.asked.has_value());
    auto answer = codec_->readAnswer(text);
    if (delta) delta(answer.text);
    return answer;
  }

  // The provider may know better than its status says.
  CallError refusal(const net::Head& head, const std::string& text, bool asked_to_wait) const {
    auto error = codec_->readRefusal(head.status, text, asked_to_wait);
    const auto said = lower(head.field("x-should-retry"));
    if (said == "true" || said == "false")
      return {error.what(), said == "true" ? CallError::Next::Again : CallError::Next::GiveUp};
    return error;
  }

  RemoteOptions options_;
  net::Url url_;
  std::unique_ptr<Codec> codec_;
  const net::HttpClient& client_;
};
}  // namespace

std::unique_ptr<Provider> makeRemoteProvider(RemoteOptions options, std::unique_ptr<Codec> codec,
                                             const net::HttpClient& client) {
  return std::make_unique<Remote>(std::move(options), std::move(codec), client);
}

}  // namespace aragora::providers
