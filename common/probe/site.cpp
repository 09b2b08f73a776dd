#include "common/probe/site.h"

#include "common/base/text.h"
#include "common/config/config.h"

namespace aragora::probe {

namespace {
constexpr std::size_t kLongestAnswer = 4U << 20;
constexpr const char* kStart = "start it: systemctl start aragora, or aragora serve; --url names one elsewhere";
constexpr const char* kLookThere = "is it the right address and port? On that machine: systemctl status aragora";

net::Failure told(const net::Failure& failure, const std::string& what, const std::string& hint = {}) {
  net::Failure fuller(failure.cause(), fmt::format("{}: {}", what, failure.what()),
                      failure.hint().empty() ? hint : failure.hint());
  return failure.portClosed() ? fuller.closedPort() : fuller;
}
}  // namespace

json::object Answer::object() const {
  const auto value = tryParseJson(body);
  return value && value->is_object() ? value->get_object() : json::object{};
}

std::vector<std::string> Answer::fields(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [field, value] : head.fields) {
    if (field == name && !value.empty()) values.push_back(value);
  }
  return values;
}

Site::Site(SiteOptions options) : options_(std::move(options)), tls_{options_.authorities}, client_({.tls = tls_}) {}

bool Site::local() const { return config::loopbackHost(options_.url.host); }

net::Limits Site::limits() const {
  return {std::min({options_.deadline, until_, deadlineIn(options_.each)}), options_.each, options_.stop};
}

net::Url Site::at(const std::string& path) const {
  auto url = options_.url;
  const auto question = path.find('?');
  url.query = question == std::string::npos ? "" : path.substr(question + 1);
  while (endsWith(url.path, "/")) url.path.pop_back();
  url.path += path.substr(0, question);
  url.user_info.clear();
  return url;
}

Answer Site::exchange(const net::Request& request) const {
  Answer answer;
  const auto started = std::chrono::steady_clock::now();
  answer.head = client_.exchange(request, {.body = [&](std::string_view bytes) {
                                   if (answer.body.size() + bytes.size() > kLongestAnswer)
                                     throw net::Failure(net::Cause::Malformed, "the answer is too long");
                                   answer.body += bytes;
                                 }});
  answer.seconds = secondsSince(started);
  answer.status = answer.head.status;
  return answer;
}

Answer Site::ask(const std::string& method, const std::string& path, As as, Headers headers,
                 const json::object& body) const {
  net::Request request{.method = method, .url = at(path), .headers = std::move(headers), .limits = limits()};
  if (as == As::Caller && showsKey()) request.headers.emplace_back("Authorization", "Bearer " + options_.key.reveal());
  if (!body.empty()) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.content = net::Content::of(toJson(body));
  }
  try {
    return exchange(request);
  } catch (const net::Failure& failure) {
    throw explained(failure);
  }
}

net::Failure Site::explained(const net::Failure& failure) const {
  const auto url = at("");  // without what need not stand behind it
  const auto asked =
      printable(fmt::format("{}://{}{} ({})", url.scheme, url.authority(), url.path, options_.named_by), 300);
  switch (failure.cause()) {
    case net::Cause::NoSuchName:
      return told(failure, "there is no address for " + asked, "check the name, and what --url says");
    case net::Cause::NotReached:
      return failure.portClosed() ? told(failure, "nothing listens at " + asked, local() ? kStart : kLookThere)
                                  : told(failure, "no way leads to " + asked,
                                         "check the address and the network between; --url names another");
    case net::Cause::Untrusted:
      return told(failure, "no certificate that is trusted at " + asked, "--ca names an authority of your own");
    case net::Cause::TooLate:
      return told(failure, "no answer from " + asked,
                  "see whether it is busy or stopped: journalctl -u aragora, over there");
    case net::Cause::Broken:
    case net::Cause::Malformed:
      return told(failure, "no whole answer from " + asked,
                  "is it the address of a deployment, with http or https as that speaks? See its log");
    case net::Cause::Busy:
    case net::Cause::Refused:
    case net::Cause::Unsure:
      break;
  }
  return failure;
}

Answer Site::getElsewhere(const net::Url& url) const {
  try {
    return exchange({.url = url, .limits = limits()});
  } catch (const net::Failure& failure) {
    throw told(failure, printable(fmt::format("GET {}://{}{}", url.scheme, url.authority(), url.path), 300));
  }
}

net::WebSocketOptions Site::socketAt(const std::string& path) const {
  net::WebSocketOptions how{.url = at(path), .tls = tls_};
  if (showsKey()) how.headers.emplace_back("Authorization", "Bearer " + options_.key.reveal());
  return how;
}

}  // namespace aragora::probe
