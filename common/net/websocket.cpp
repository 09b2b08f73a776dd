#include "common/net/websocket.h"

#include <Poco/SHA1Engine.h>

#include <random>

#include "common/base/text.h"
#include "common/net/failure.h"
#include "common/net/http_answer.h"
#include "common/net/request_head.h"

namespace aragora::net {

namespace {
constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, 1.3
constexpr std::size_t kLongestMessage = 4U << 20;
constexpr unsigned kContinuation = 0;
constexpr unsigned kText = 1;
constexpr unsigned kClose = 8;
constexpr unsigned kPing = 9;
constexpr unsigned kPong = 10;
constexpr std::size_t kMask = 4;

std::string randomText(std::size_t size) {
  std::random_device device;
  std::string bytes;
  while (bytes.size() < size) bytes += static_cast<char>(device());
  return bytes;
}

std::string acceptOf(const std::string& key) {
  Poco::SHA1Engine digest;
  digest.update(key + std::string(kGuid));
  const auto& bytes = digest.digest();
  return toBase64(std::string(bytes.begin(), bytes.end()));
}

Target targetOf(const WebSocketOptions& options) {
  return {options.url.host, options.url.port, options.url.scheme == "https" ? tlsContext(options.tls) : nullptr};
}

std::uint64_t numberOf(std::string_view bytes) {
  std::uint64_t number = 0;
  for (const char byte : bytes) number = number << 8U | static_cast<unsigned char>(byte);
  return number;
}

std::string lengthBytes(std::uint64_t length) {
  const unsigned wide = length < 126 ? 0 : length <= 0xFFFF ? 2 : 8;
  std::string bytes(1, static_cast<char>(0x80U | (wide == 0 ? length : wide == 2 ? 126U : 127U)));
  for (unsigned left = wide; left > 0; --left) bytes += static_cast<char>(length >> (8U * (left - 1)) & 0xFFU);
  return bytes;
}
}  // namespace

WebSocket::WebSocket(const WebSocketOptions& options, const Limits& limits) : stream_(targetOf(options), limits) {
  shakeHands(options, limits);
}

void WebSocket::shakeHands(const WebSocketOptions& options, const Limits& limits) {
  const auto key = toBase64(randomText(16));
  auto headers = options.headers;
  headers.insert(headers.end(), {{"Connection", "Upgrade"},
                                 {"Upgrade", "websocket"},
                                 {"Sec-WebSocket-Version", "13"},
                                 {"Sec-WebSocket-Key", key}});
  stream_.write(requestHead("GET", options.url, headers) + "\r\n", limits);
  std::size_t used = 0;
  auto head = parseHead(buffer_, used);
  while (!head) {
    need(buffer_.size() + 1, limits);
    head = parseHead(buffer_, used);
  }
  buffer_.erase(0, used);
  if (head->status == 429)
    throw Failure(Cause::Busy, fmt::format("{}: the handshake was answered 429", stream_.target().text()));
  if (head->status != 101)
    throw Error(Code::CheckFailed, fmt::format("the handshake was answered {} instead of 101", head->status));
  if (lower(head->field("upgrade")) != "websocket" || head->field("sec-websocket-accept") != acceptOf(key))
    throw Failure(Cause::Malformed, fmt::format("{}: the handshake was answered wrongly", stream_.target().text()));
}

void WebSocket::need(std::size_t bytes, const Limits& limits) {
  char chunk[16 * 1024];
  while (buffer_.size() < bytes) {
    const auto got = stream_.read(chunk, sizeof chunk, limits);
    if (got == 0) throw Failure(Cause::Broken, fmt::format("{}: the socket broke", stream_.target().text()));
    buffer_.append(chunk, got);
  }
}

void WebSocket::write(unsigned opcode, std::string_view payload, const Limits& limits) {
  auto frame = std::string(1, static_cast<char>(0x80U | opcode)) + lengthBytes(payload.size());
  const auto mask = randomText(kMask);
  frame += mask;
  for (std::size_t i = 0; i < payload.size(); ++i) frame += static_cast<char>(payload[i] ^ mask[i % kMask]);
  stream_.write(frame, limits);
}

void WebSocket::send(std::string_view text, const Limits& limits) { write(kText, text, limits); }

WebSocket::Frame WebSocket::readFrame(const Limits& limits) {
  const auto malformed = [&](std::string_view what) {
    return Failure(Cause::Malformed, fmt::format("{}: {}", stream_.target().text(), what));
  };
  need(2, limits);
  const auto first = static_cast<unsigned char>(buffer_[0]);
  const auto second = static_cast<unsigned char>(buffer_[1]);
  if ((first & 0x70U) != 0 || (second & 0x80U) != 0) throw malformed("a frame that a server may not send");
  const unsigned shown = second & 0x7FU;
  const std::size_t wide = shown < 126 ? 0 : shown == 126 ? 2 : 8;
  need(2 + wide, limits);
  const auto length = wide == 0 ? shown : numberOf(std::string_view(buffer_).substr(2, wide));
  if (length > kLongestMessage) throw malformed("a message that is too long");
  const auto begin = 2 + wide;
  need(begin + length, limits);
  Frame frame{first & 0x0FU, (first & 0x80U) != 0, buffer_.substr(begin, length)};
  buffer_.erase(0, begin + length);
  return frame;
}

std::optional<std::string> WebSocket::receive(const Limits& limits) {
  std::string message;
  while (true) {
    auto frame = readFrame(limits);
    if (frame.opcode == kClose) {
      write(kClose, frame.payload.substr(0, 2), limits);
      return std::nullopt;
    }
    if (frame.opcode == kPing) write(kPong, frame.payload, limits);
    if (frame.opcode != kText && frame.opcode != kContinuation) continue;
    message += frame.payload;
    if (message.size() > kLongestMessage)
      throw Failure(Cause::Malformed, fmt::format("{}: a message that is too long", stream_.target().text()));
    if (frame.last) return message;
  }
}

}  // namespace aragora::net
