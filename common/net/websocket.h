// A client's side of a WebSocket (RFC 6455): text messages, no extensions. Pings are answered while it reads. One owner
// at a time; failures are Failure (one that is to be tried later is
// Cause::Busy), a handshake that is refused is Error(CheckFailed) with the status.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/net/stream.h"
#include "common/net/url.h"

namespace aragora::net {

struct WebSocketOptions {
  Url url;                                                     // http or https
  std::vector<std::pair<std::string, std::string>> headers{};  // besides what a handshake has
  TlsOptions tls{};
};

class WebSocket {
 public:
  WebSocket(const WebSocketOptions& options, const Limits& limits);

  void send(std::string_view text, const Limits& limits);
  // The next message; nullopt when the other side closed.
  std::optional<std::string> receive(const Limits& limits);

 private:
  struct Frame {
    unsigned opcode = 0;
    bool last = false;
    std::string payload;
  };
  void shakeHands(const WebSocketOptions& options, const Limits& limits);
  void write(unsigned opcode, std::string_view payload, const Limits& limits);
  void need(std::size_t bytes, const Limits& limits);
  Frame readFrame(const Limits& limits);
  Stream stream_;
  std::string buffer_;
};

}  // namespace aragora::net
