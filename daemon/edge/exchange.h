// What a connection asks of whoever answers requests: one Exchange for each head that was read. The edge knows no
// route; web::Guard implements this. Calls come one after the other, each in the thread that is named.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "daemon/edge/message.h"

namespace aragora::edge {

// Why a request is answered without having been understood or served.
struct Refusal {
  int status = 400;
  std::string reason;
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  // I/O thread, once the head is there: the answer when the head alone decides, nothing when the request may go on.
  virtual std::optional<Response> admit() = 0;
  // I/O thread, in place of admit() when the head was not understood: the refusal, or nothing when ask() and admitted()
  // are to follow; the latter then has one.
  virtual std::optional<Response> misread(const Refusal& refusal) { return refuse(refusal); }
  // I/O thread, when admit() had no answer: whether somebody else has to be asked first. Then `go_on` is called once,
  // in any thread; admitted() follows, at once or after it, and answers when the request may not go on.
  virtual bool ask(std::function<void()> go_on) {
    (void)go_on;
    return false;
  }
  virtual std::optional<Response> admitted() { return std::nullopt; }
  // Bytes, however the body is framed. Asked after admitted().
  virtual std::size_t bodyLimit() const = 0;
  virtual void setBody(std::string body) = 0;
  // I/O thread: answers what needs no waiting. Nothing: a worker has to.
  virtual std::optional<Response> answerNow() = 0;
  // A worker: may wait. Never throws.
  virtual Response answer() = 0;
  virtual Response refuse(const Refusal& refusal) = 0;
  // I/O thread, before `response` is written: adds what every answer carries, and counts it.
  virtual void finish(Response& response, std::chrono::steady_clock::duration taken) = 0;
};

class Site {
 public:
  virtual ~Site() = default;
  // I/O thread. `request` may be incomplete when its head was malformed; then refuse() follows.
  virtual std::unique_ptr<Exchange> open(Request request) = 0;
};

}  // namespace aragora::edge
