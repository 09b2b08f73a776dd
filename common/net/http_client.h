// The HTTP/1.1 client of the product. An answer is handed over as it arrives; the whole takes no longer than its
// deadline however slowly it drips, and ends within 100 ms of being told to. Connections are kept for a while and used
// again: one that the other side closed meanwhile is replaced without a word. Redirects are not followed. Any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "common/net/failure.h"
#include "common/net/http_answer.h"
#include "common/net/stream.h"
#include "common/net/url.h"

namespace aragora::net {

// The body of a request. May be fed twice, when a kept connection turns out to be closed.
struct Content {
  using Sink = std::function<void(std::string_view)>;
  std::uint64_t length = 0;
  std::function<void(const Sink&)> feed = nullptr;
  static Content of(std::string text);
};

// How long single steps may take, where the patience of the limits is not the right one for all.
struct Patience {
  std::chrono::milliseconds connect;     // name, connection and TLS together
  std::chrono::milliseconds first_byte;  // of the answer, once all was sent
  std::chrono::milliseconds idle;        // between any two after that
};

struct Request {
  std::string method = "GET";
  Url url;
  std::vector<std::pair<std::string, std::string>> headers{};  // besides Host, Content-Length and User-Agent
  Content content{};
  Limits limits{};
  std::optional<Patience> patience{};
  bool once = false;  // over no kept connection: one that breaks has it sent again, and nobody knows what became of it
};

struct HttpClientOptions {
  TlsOptions tls{};
  std::size_t most_kept = 64;           // connections without anything to do, in all
  std::size_t most_kept_per_host = 16;  // and to one host
  // Shorter than what servers and their proxies wait before they hang up.
  std::chrono::milliseconds idle{8000};
};

class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options = {});
  ~HttpClient();

  // What comes before the body, and its bytes; what they throw ends the exchange.
  struct Receiver {
    std::function<void(const Head&)> head = nullptr;
    std::function<void(std::string_view)> body = nullptr;
  };
  // Any status is an answer. Throws Failure when there is none, or it is not complete; Error(Interrupted).
  Head exchange(const Request& request, const Receiver& receiver) const;

 private:
  struct Kept {
    std::unique_ptr<Stream> stream;
    Deadline until;
  };
  std::unique_ptr<Stream> takeKept(const std::string& host) const;
  void keep(const std::string& host, std::unique_ptr<Stream> stream) const;
  void forget(const std::string& host) const;
  Target targetOf(const Url& url) const;
  struct Attempt;
  HttpClientOptions options_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::vector<Kept>> kept_;  // by scheme and authority, the freshest last
};

}  // namespace aragora::net
