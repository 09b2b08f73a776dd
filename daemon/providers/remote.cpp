#include "daemon/providers/remote.h"

#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::providers {

namespace {
constexpr std::size_t kAnswerLimit = 4U << 20;
constexpr int kMostWaits = 3;  // for a provider that asks for a pause again and again

net::Url urlOf(const RemoteOptions& options) {
  auto base = options.base_url;
  while (endsWith(base, "/")) base.pop_back();
  const auto url = net::Url::parse(base);
  if (url && !url->host.empty() && (url->scheme == "https" || url->scheme == "http")) return *url;
  throw Error(Code::Config, fmt::format("the base URL of {} is no URL", options.name), "write it as https://host/path");
}

// What one try leaves for the next.
struct Outcome {
  bool shown = false;  // somebody was shown part of an answer
  int status = 0;
  std::optional<Span> asked{};
  std::optional<bool> should_retry{};  // the provider may know better than its status says
  std::string request_id{};            // the provider's
  bool begun = false;                  // there was a beginning of an answer
  // It may be billed. The statuses are of gateways that did not wait for an answer that was being made.
  bool workedOn() const { return begun || status == 408 || status == 504 || status == 524; }
};

bool worthAnotherTry(FailureKind kind) {
  return kind == FailureKind::Unreachable || kind == FailureKind::Timeout || kind == FailureKind::Server ||
         kind == FailureKind::Throttled || kind == FailureKind::Malformed || kind == FailureKind::Cut;
}

FailureKind kindOf(const net::Failure& failure) {
  switch (failure.cause()) {
    case net::Cause::TooLate:
      return FailureKind::Timeout;
    case net::Cause::Broken:
      return FailureKind::Cut;
    case net::Cause::Malformed:
      return FailureKind::Malformed;
    default:
      return FailureKind::Unreachable;
  }
}

class Remote : public Provider {
 public:
  Remote(RemoteOptions options, std::unique_ptr<Codec> codec, const net::HttpClient& client)
      : options_(std::move(options)), url_(urlOf(options_)), codec_(std::move(codec)), client_(client) {}

  std::string_view name() const override { return options_.name; }

  Answer ask(const Question& question, const OnDelta& on_delta) override {
    const auto deadline = std::min(question.deadline, deadlineIn(options_.times.total));
    const Prompt prompt{question.model.empty() ? options_.default_model : question.model,
                        question.system,
                        question.user,
                        static_cast<bool>(on_delta),
                        question.shape,
                        question.max_output_tokens};
    const net::Limits limits{deadline, options_.times.total, question.stop};
    net::Retry retry(options_.retry, deadline, question.stop);
    std::optional<Failure> last;
    bool billed = false;  // perhaps, for one try or another
    while (true) {
      auto permit = admitted(question, prompt.model, limits, last);
      auto slot = turnOf(question, limits, last);
      Outcome outcome;
      bool again = false;
      const auto began = std::chrono::steady_clock::now();
      try {
        auto answer = tryOnce(prompt, limits, question.billed_once, on_delta, outcome);
        if (permit) permit->settle({.model = prompt.model});
        return answer;
      } catch (const Failure& failure) {
        again = worthAnotherTry(failure.kind()) || outcome.status == 409;  // as the vendors' SDKs do
        last = failure;
      } catch (const net::Failure& failure) {
        again = failure.worthAnotherTry();
        last = Failure(kindOf(failure), failure.what());
      }
      if (cutShort(*last, question.deadline, began)) last = Failure(FailureKind::Stopped, last->what());
      if (!outcome.request_id.empty()) last->under(outcome.request_id);
      billed = last->workedOn(billed || outcome.workedOn()).maybeBilled();
      if (permit)
        permit->settle({last->kind(), last->askedPause(), last->what(), prompt.model, saysNothingOfOthers(outcome)});
      slot.reset();  // pauses between tries are nobody's turn
      if (outcome.should_retry) again = *outcome.should_retry;
      if (last->kind() == FailureKind::Money) again = false;  // whatever it says
      if (question.billed_once && billed) again = false;
      if (again && !outcome.shown && retry.again(last->askedPause())) {
        log::info("{}: {}; trying again", question.agent, last->what());
        continue;
      }
      giveUp(question, *last);
    }
  }

 private:
  // The right to make the next try, or none to have. Throws Failure: what was there before, or Rejected.
  std::optional<Breaker::Permit> admitted(const Question& question, const std::string& model, const net::Limits& limits,
                                          const std::optional<Failure>& last) const {
    if (options_.breaker == nullptr) return std::nullopt;
    for (int waits = 0;; ++waits) {
      auto decided = options_.breaker->admit(remaining(limits.deadline) + kLeaseGrace, model);
      if (auto* permit = std::get_if<Breaker::Permit>(&decided)) return std::move(*permit);
      const auto& rejection = std::get<Rejection>(decided);
      const auto wait = rejection.left + rejection.left / 8;  // those who are held back do not come all at once
      const bool worth_it = rejection.why == Refusal::Throttled && waits < kMostWaits &&
                            wait <= options_.retry.longest_asked && wait < remaining(limits.deadline);
      if (worth_it && waited(wait, limits.stop)) continue;
      if (last) giveUp(question, *last);
      throw Failure(rejection.cause, whyNot(rejection), rejection.left);
    }
  }

  // False when it was stopped: nothing more was asked, which is no outcome that nobody knows.
  static bool waited(Span span, const std::stop_token& stop) {
    try {
      net::pause(span, stop);
      return true;
    } catch (const Error& error) {
      if (error.code() != Code::Interrupted) throw;
      return false;
    }
  }

  // A place among the calls that may be open at once. The permit is from before the wait: a key that was replaced
  // meanwhile is refused without harm to the new one.
  std::optional<CallSlots::Slot> turnOf(const Question& question, const net::Limits& limits,
                                        const std::optional<Failure>& last) const {
    if (options_.slots == nullptr) return std::nullopt;
    const auto came = std::chrono::steady_clock::now();
    const auto shut = [this] { return options_.breaker != nullptr && options_.breaker->closedToAll(); };
    auto slot = options_.slots->take(question.stop, limits.deadline, shut);
    if (secondsSince(came) > 1)
      log::debug("{} waited {:.1f} s for its turn at {}", question.agent, secondsSince(came), options_.name);
    if (slot) return slot;
    if (last) giveUp(question, *last);  // whoever is stopped before a first try asked nothing, and owes nothing
    throw Failure(FailureKind::Rejected,
                  shut() ? fmt::format("{} is not asked: its circuit opened while this call waited", options_.name)
                         : fmt::format("{} is not asked: as many calls as may be at once took all the time there was "
                                       "(providers.calls_at_once)",
                                       options_.name));
  }

  std::string whyNot(const Rejection& rejection) const {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(rejection.left).count();
    switch (rejection.why) {
      case Refusal::Open:
        return fmt::format("{} is not asked for {} s more: its circuit is open", options_.name, seconds);
      case Refusal::Probing:
        return fmt::format("{} is not asked while one call finds out whether it works again", options_.name);
      case Refusal::Throttled:
        return fmt::format("{} asked to wait for {} s more", options_.name, seconds);
      case Refusal::Blocked:
        return fmt::format("{} is not asked: {}", options_.name, rejection.reason);
      case Refusal::Forced:
        return fmt::format("{} is not asked: an administrator holds its circuit open", options_.name);
    }
    return options_.name;
  }

  // The debate's own time was over before the provider had had what it may take: that is not its failure.
  bool cutShort(const Failure& failure, Deadline ours, Moment began) const {
    if (failure.kind() != FailureKind::Timeout || remaining(ours).count() > 0) return false;
    return std::chrono::steady_clock::now() - began < std::min(options_.times.first_byte, options_.times.total / 2);
  }

  // A refusal for one model: the status says so, or nothing does.
  static bool saysNothingOfOthers(const Outcome& outcome) { return outcome.status != 401; }

  [[noreturn]] void giveUp(const Question& question, const Failure& last) const {
    const auto said = printable(last.what(), 200);
    if (!question.stop.stop_requested()) log::warning("{}: {}; given up", question.agent, said);
    throw last.retold(fmt::format("{} did not answer: {}", url_.host, said));
  }

  Answer tryOnce(const Prompt& prompt, const net::Limits& limits, bool once, const OnDelta& on_delta,
                 Outcome& outcome) const {
    auto wire = codec_->request(prompt);
    const auto& times = options_.times;
    net::Request request{
        .method = "POST",
        .url = url_,
        .limits = limits,
        .patience = net::Patience{times.connect, prompt.stream ? times.first_byte : times.total, times.idle},
        .once = once};
    request.url.path += wire.path;
    request.headers = std::move(wire.headers);
    request.content = net::Content::of(std::move(wire.body));
    const auto show = [&](std::string_view text) {
      const bool now = on_delta(text);
      outcome.shown = outcome.shown || now;
      return now;
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
      outcome.status = came.status;
      if (const auto field = codec_->requestIdField(); !field.empty())
        outcome.request_id = requestIdOf(came.field(field));
      outcome.asked = net::askedPause(head.field("retry-after"), head.field("retry-after-ms"), nowMicros());
      if (const auto said = lower(head.field("x-should-retry")); said == "true" || said == "false")
        outcome.should_retry = said == "true";
      streams = came.status == 200 && startsWith(lower(came.field("content-type")), "text/event-stream");
    };
    const auto take_body = [&](std::string_view bytes) {
      received += bytes.size();
      if (received > kAnswerLimit) throw Failure(FailureKind::Malformed, "the answer is larger than 4 MB");
      if (streams)
        events.feed(bytes, [&](const SseEvent& event) {
          reader->take(event, delta);  // an error that comes first is a refusal
          outcome.begun = true;
        });
      else
        text += bytes;
    };
    try {
      client_.exchange(request, {take_head, take_body});
    } catch (const net::Failure&) {
      if (!streams || !reader->complete()) throw;  // otherwise everything was said before it broke
    }
    if (streams) return named(reader->finish(), outcome);
    if (head.status != 200) throw codec_->readRefusal(head.status, text, outcome.asked);
    outcome.begun = true;
    auto answer = named(codec_->readAnswer(text), outcome);
    if (delta) delta(answer.text);
    return answer;
  }

  Answer named(Answer answer, const Outcome& outcome) const {
    if (answer.provider.empty()) answer.provider = options_.name;
    if (!outcome.request_id.empty()) answer.request_id = outcome.request_id;
    return answer;
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
