// The answer to a request as it comes in, byte by byte (RFC 9112): its head, and where its body ends. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aragora::net {

struct Head {
  int status = 0;
  bool http_1_0 = false;
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
  std::string_view field(std::string_view name) const;      // the first; empty when there is none
  std::optional<std::uint64_t> length() const;              // as Content-Length says
};

// nullopt while its end has not come; then `used` says how long it was. Throws Failure(Malformed).
std::optional<Head> parseHead(std::string_view bytes, std::size_t& used);

class Body {
 public:
  // Throws Failure(Malformed) when the head contradicts itself.
  Body(const Head& head, bool of_head_request);

  using Sink = std::function<void(std::string_view)>;
  // Hands over what is content and answers how many bytes it used: less than all only behind the end.
  std::size_t take(std::string_view bytes, const Sink& sink);
  bool complete() const { return state_ == State::End; }
  // The connection ended. True when that was the end of the body, too.
  bool endedHere() const { return complete() || state_ == State::UntilClose; }
  bool framed() const { return framed_; }  // the connection may be used again

 private:
  enum class State { Length, UntilClose, ChunkSize, ChunkData, ChunkEnd, Trailer, End };
  std::size_t takeLine(std::string_view bytes);
  std::size_t takeData(std::string_view bytes, const Sink& sink);
  void onLine();
  State state_ = State::End;
  bool framed_ = true;
  std::uint64_t left_ = 0;
  std::string line_;
  std::size_t trailer_ = 0;
};

}  // namespace aragora::net
