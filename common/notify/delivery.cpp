#include "common/notify/delivery.h"

#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/net/smtp.h"

namespace aragora::notify {

namespace {
constexpr std::size_t kMostOfAnswer = 4096;
constexpr std::size_t kShown = 160;
// With each step. Receivers of webhooks may do what they do before they answer; mail servers let strangers wait.
constexpr std::chrono::seconds kHttpPatience{5};
constexpr std::chrono::seconds kWebhookPatience{15};
constexpr std::chrono::seconds kMailPatience{20};
constexpr std::chrono::seconds kForWords{1};  // of an answer whose status is there
constexpr std::size_t kMostOfPing = 10'000;   // what healthchecks.io keeps
const net::RetryPolicy kPolicy{.first_pause = std::chrono::milliseconds(500),
                               .longest_pause = std::chrono::milliseconds(4000)};

// What one try ended with.
struct Result {
  bool delivered = false;
  std::string answer;
  std::string hint{};
  bool again = false;
  std::optional<std::chrono::milliseconds> asked{};
};

net::Url parsed(const Secret& url) {
  const auto result = net::Url::parse(url.reveal());
  if (!result) throw Error(Code::Config, "the address is no URL");
  return *result;
}

net::Limits limitsOf(Channel channel, const Until& until) {
  const auto patience = channel == Channel::Email     ? kMailPatience
                        : channel == Channel::Webhook ? kWebhookPatience
                                                      : kHttpPatience;
  return {until.deadline, patience, until.stop};
}

// Tries until one is delivered, or no other would be.
template <typename Try>
Outcome tryUntil(Outcome outcome, const net::Limits& limits, int tries, const Try& once) {
  const auto started = std::chrono::steady_clock::now();
  auto policy = kPolicy;
  policy.tries = tries;
  net::Retry retry(policy, limits.deadline, limits.stop);
  while (true) {
    ++outcome.tries;
    Result result;
    try {
      result = once();
    } catch (const net::Failure& failure) {
      result = {false, failure.what(), failure.hint(), failure.worthAnotherTry()};
      outcome.unsure = failure.cause() == net::Cause::Unsure;
    } catch (const Error& error) {
      if (error.code() == Code::Interrupted) throw;
      result = {false, error.what(), error.hint()};
    }
    outcome.delivered = result.delivered;
    outcome.answer = printable(redact(result.answer), 2 * kShown);
    outcome.hint = result.hint;
    if (result.delivered || !result.again || !retry.again(result.asked)) break;
  }
  outcome.seconds = secondsSince(started);
  return outcome;
}

// The status decides. What is said besides is shown when it comes at once, and waited for by nobody.
Result post(const net::HttpClient& client, net::Request request) {
  std::string text;
  net::Head head;
  const auto answered = [&](const net::Head& came) {
    head = came;
    request.limits.deadline = std::min(request.limits.deadline, deadlineIn(kForWords));
  };
  const auto words = [&](std::string_view bytes) {
    text += bytes.substr(0, kMostOfAnswer - std::min(kMostOfAnswer, text.size()));
  };
  try {
    client.exchange(request, {answered, words});
  } catch (const net::Failure&) {
    if (head.status == 0) throw;
  }
  const auto said = printable(redact(std::string(trim(text))), kShown);
  Result result{head.status / 100 == 2, fmt::format("{}{}{}", head.status, said.empty() ? "" : " ", said)};
  if (head.status / 100 == 3) result.hint = "redirects are not followed: name where it leads";
  result.again = net::statusWorthAnotherTry(head.status);
  result.asked = net::askedPause(head.field("retry-after"), head.field("retry-after-ms"), nowMicros());
  return result;
}

// An event that was sent whole may have been taken, whatever became of the answer: it is not sent again at once.
Result postOnce(const net::HttpClient& client, net::Request request, const std::string& text) {
  bool sent = false;
  request.content = {text.size(), [&](const net::Content::Sink& sink) {
                       sent = true;
                       sink(text);
                     }};
  try {
    return post(client, std::move(request));
  } catch (const net::Failure& failure) {
    if (!sent || (failure.cause() != net::Cause::TooLate && failure.cause() != net::Cause::Broken)) throw;
    throw net::Failure(net::Cause::Unsure, fmt::format("{}; it may have been taken", failure.what()), failure.hint());
  }
}

Outcome postEvent(const Options& options, const Event& event, const net::Limits& limits, int tries) {
  const auto url = parsed(options.webhook->url);
  const auto text = toJson(toDocument(event, options.sender));
  const net::HttpClient client;
  return tryUntil({Channel::Webhook, net::Target{url.host, url.port}.text()}, limits, tries, [&] {
    const auto timestamp = std::to_string(nowMicros() / 1'000'000);  // of this try: receivers refuse old ones
    net::Request request{.method = "POST", .url = url, .limits = limits};
    request.headers = {{"Content-Type", "application/json"},
                       {"webhook-id", event.id},
                       {"webhook-timestamp", timestamp},
                       {"webhook-signature", signatureOf(options.webhook->key, event.id, timestamp, text)}};
    return postOnce(client, std::move(request), text);
  });
}

net::MailServer serverOf(const Options& options) {
  const auto& email = *options.email;
  const auto security = email.tls == MailTls::StartTls ? net::MailSecurity::StartTls
                        : email.tls == MailTls::Tls    ? net::MailSecurity::Tls
                                                       : net::MailSecurity::None;
  return {email.host, email.port, security, email.user, email.password, options.sender.host};
}

Outcome mailEvent(const Options& options, const Event& event, const net::Limits& limits, int tries) {
  const auto server = serverOf(options);
  const net::Mail mail{
      event.id, options.email->from, options.email->to, subject(event, options.sender), body(event, options.sender),
      event.at};
  return tryUntil({Channel::Email, server.text()}, limits, tries, [&] {
    const auto answer = net::sendMail(server, mail, limits);
    return Result{true, answer.refused.empty()
                            ? answer.said
                            : fmt::format("{}; not for {}", answer.said, join(answer.refused, ", "))};
  });
}

const Secret& pingUrl(const Options& options, Channel channel) {
  return channel == Channel::DrillPing ? *options.drill_ping : *options.backup_ping;
}

std::string_view suffix(Ping what) {
  switch (what) {
    case Ping::Start:
      return "/start";
    case Ping::Success:
      return "";
    case Ping::Fail:
      return "/fail";
    case Ping::Log:
      return "/log";
  }
  return "";
}
}  // namespace

std::string signatureOf(const Secret& key, std::string_view id, std::string_view timestamp, std::string_view body) {
  constexpr std::string_view kPrefix = "whsec_";
  std::string bytes = key.reveal();
  if (startsWith(bytes, kPrefix)) bytes = fromBase64(bytes.substr(kPrefix.size())).value_or(bytes);
  return "v1," + toBase64(crypto::hmacSha256(bytes, fmt::format("{}.{}.{}", id, timestamp, body)));
}

Outcome deliver(const Options& options, Channel channel, const Event& event, const Until& until, int tries) {
  const auto limits = limitsOf(channel, until);
  ARAGORA_CHECK(channel == Channel::Webhook || channel == Channel::Email);
  return channel == Channel::Webhook ? postEvent(options, event, limits, tries)
                                     : mailEvent(options, event, limits, tries);
}

Outcome ping(const Options& options, Channel channel, Ping what, const std::string& text, const Until& until,
             int tries) {
  const auto limits = limitsOf(channel, until);
  auto url = parsed(pingUrl(options, channel));
  while (endsWith(url.path, "/")) url.path.pop_back();
  url.path += suffix(what);
  const net::HttpClient client;
  const auto said = redact(text).substr(0, kMostOfPing);
  return tryUntil({channel, net::Target{url.host, url.port}.text()}, limits, tries, [&] {
    net::Request request{.method = "POST", .url = url, .limits = limits};
    request.headers = {{"Content-Type", "text/plain; charset=utf-8"}};
    request.content = net::Content::of(said);
    return post(client, std::move(request));
  });
}

Outcome lookAt(const Options& options, Channel channel, const Until& until) {
  const auto limits = limitsOf(channel, until);
  if (channel == Channel::Email) {
    const auto server = serverOf(options);
    return tryUntil({channel, server.text()}, limits, 1, [&] {
      return Result{true, net::lookAtMailServer(server, limits)};
    });
  }
  const auto url = parsed(channel == Channel::Webhook ? options.webhook->url : pingUrl(options, channel));
  const net::Target target{url.host, url.port, url.scheme == "https" ? net::tlsContext() : nullptr};
  return tryUntil({channel, target.text()}, limits, 1, [&] {
    const net::Stream stream(target, limits);
    return Result{true, "somebody answers"};
  });
}

std::string describe(const Outcome& outcome) {
  auto text = fmt::format("{} ({}): {}", name(outcome.channel), outcome.place, outcome.answer);
  if (outcome.tries > 1) text += fmt::format(" (at try {})", outcome.tries);
  if (outcome.kept) text += "; kept, and tried again";
  if (!outcome.lost.empty()) text += fmt::format("; nor could it be kept: {}", outcome.lost);
  return text;
}

json::object toDocument(const Outcome& outcome) {
  return {{"channel", name(outcome.channel)}, {"place", outcome.place}, {"delivered", outcome.delivered},
          {"answer", outcome.answer},         {"tries", outcome.tries}, {"seconds", outcome.seconds},
          {"unsure", outcome.unsure},         {"kept", outcome.kept}};
}

}  // namespace aragora::notify
