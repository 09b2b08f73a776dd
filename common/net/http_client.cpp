#include "common/net/http_client.h"

#include <algorithm>
#include <numeric>

#include "common/base/text.h"
#include "common/net/request_head.h"

namespace aragora::net {

namespace {
constexpr std::size_t kBuffer = 16 * 1024;  // of one TLS record

std::string headOf(const Request& request) {
  auto text = requestHead(request.method, request.url, request.headers);
  if (request.content.length > 0 || (request.method != "GET" && request.method != "HEAD"))
    text += fmt::format("Content-Length: {}\r\n", request.content.length);
  return text + "\r\n";
}

// An item of a comma list.
bool says(std::string_view list, std::string_view word) {
  const auto items = split(lower(list), ',');
  return std::find(items.begin(), items.end(), word) != items.end();
}
}  // namespace

Content Content::of(std::string text) {
  const auto length = text.size();
  return {length, [text = std::move(text)](const Sink& sink) { sink(text); }};
}

HttpClient::HttpClient(HttpClientOptions options) : options_(std::move(options)) {}
HttpClient::~HttpClient() = default;

// One request on one connection.
struct HttpClient::Attempt {
  Stream& stream;
  const Request& request;
  const Receiver& receiver;
  std::string buffer{};
  bool answered = false;  // a byte came
  bool reusable = false;

  void send() {
    // Head and small bodies leave in one segment.
    auto pending = headOf(request);
    const auto flush = [&] {
      stream.write(pending, request.limits);
      pending.clear();
    };
    if (request.content.feed)
      request.content.feed([&](std::string_view bytes) {
        if (pending.size() + bytes.size() > kBuffer) flush();
        if (bytes.size() > kBuffer)
          stream.write(bytes, request.limits);
        else
          pending += bytes;
      });
    flush();
  }

  // One that refuses a body answers before it has read it, and hangs up.
  Head run() {
    try {
      send();
    } catch (const Failure& failure) {
      if (failure.cause() != Cause::Broken) throw;
      try {
        return receive();
      } catch (const Failure&) {
        if (answered) throw;
      }
      throw;
    }
    return receive();
  }

  bool more() {
    char bytes[kBuffer];
    auto limits = request.limits;
    if (request.patience) limits.patience = answered ? request.patience->idle : request.patience->first_byte;
    const auto got = stream.read(bytes, sizeof bytes, limits);
    answered |= got > 0;
    buffer.append(bytes, got);
    return got > 0;
  }

  [[noreturn]] void broken() const {
    throw Failure(Cause::Broken, fmt::format("{}: the connection broke", stream.target().text()));
  }

  Head receiveHead() {
    while (true) {
      std::size_t used = 0;
      const auto head = parseHead(buffer, used);
      if (head) buffer.erase(0, used);
      if (head && head->status == 101) throw Failure(Cause::Malformed, "the answer speaks another protocol");
      if (head && head->status >= 200) return *head;
      if (!head && !more()) broken();  // 1xx: the answer is still to come
    }
  }

  Head receive() {
    const auto head = receiveHead();
    if (receiver.head) receiver.head(head);
    Body body(head, request.method == "HEAD");
    const auto sink = [&](std::string_view bytes) {
      if (receiver.body) receiver.body(bytes);
    };
    while (true) {
      buffer.erase(0, body.take(buffer, sink));
      if (body.complete()) break;
      if (more()) continue;
      if (!body.endedHere()) broken();
      break;
    }
    const auto connection = head.field("connection");
    reusable = body.framed() && body.complete() && buffer.empty() && !says(connection, "close") &&
               (!head.http_1_0 || says(connection, "keep-alive"));
    return head;
  }
};

Target HttpClient::targetOf(const Url& url) const {
  return {url.host, url.port, url.scheme == "https" ? tlsContext(options_.tls) : nullptr};
}

Head HttpClient::exchange(const Request& request, const Receiver& receiver) const {
  const auto host = fmt::format("{}://{}", request.url.scheme, request.url.authority());
  const auto attempt = [&](std::unique_ptr<Stream> stream, bool& answered) {
    Attempt one{*stream, request, receiver};
    try {
      auto head = one.run();
      if (one.reusable) keep(host, std::move(stream));
      return head;
    } catch (const Failure&) {
      answered = one.answered;
      throw;
    }
  };
  bool answered = false;
  if (auto kept = request.once ? nullptr : takeKept(host)) {
    try {
      return attempt(std::move(kept), answered);
    } catch (const Failure& failure) {
      if (answered || failure.cause() != Cause::Broken) throw;
      forget(host);  // closed while nothing happened, and the others probably are
    }
  }
  auto connecting = request.limits;
  if (request.patience) connecting.patience = request.patience->connect;
  return attempt(std::make_unique<Stream>(targetOf(request.url), connecting), answered);
}

std::unique_ptr<Stream> HttpClient::takeKept(const std::string& host) const {
  std::vector<Kept> closing;  // outside the lock
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  std::unique_ptr<Stream> taken;
  for (auto entry = kept_.begin(); entry != kept_.end();) {
    auto& streams = entry->second;
    const auto expired = std::find_if(streams.begin(), streams.end(), [&](const Kept& one) { return one.until > now; });
    std::move(streams.begin(), expired, std::back_inserter(closing));
    streams.erase(streams.begin(), expired);
    while (entry->first == host && !taken && !streams.empty()) {
      auto& last = streams.back();
      if (last.stream->quiet())
        taken = std::move(last.stream);
      else
        closing.push_back(std::move(last));
      streams.pop_back();
    }
    entry = streams.empty() ? kept_.erase(entry) : std::next(entry);
  }
  return taken;
}

void HttpClient::keep(const std::string& host, std::unique_ptr<Stream> stream) const {
  const std::lock_guard lock(mutex_);
  const auto all = std::accumulate(kept_.begin(), kept_.end(), std::size_t{0},
                                   [](std::size_t sum, const auto& entry) { return sum + entry.second.size(); });
  if (all >= options_.most_kept) return;
  auto& streams = kept_[host];
  if (streams.size() < options_.most_kept_per_host) streams.push_back({std::move(stream), deadlineIn(options_.idle)});
}

void HttpClient::forget(const std::string& host) const {
  std::vector<Kept> closing;
  const std::lock_guard lock(mutex_);
  if (const auto found = kept_.find(host); found != kept_.end()) {
    closing.swap(found->second);
    kept_.erase(found);
  }
}

}  // namespace aragora::net
