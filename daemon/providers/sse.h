// Server-sent events (WHATWG HTML, 9.2.6) out of bytes in whatever pieces they come. Pure.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace aragora::providers {

struct SseEvent {
  std::string event;  // empty: "message"
  std::string data;
};

class SseParser {
 public:
  using Sink = std::function<void(const SseEvent&)>;
  // Hands over every event that is complete. Throws Failure(Malformed) for one of more than 4 MB.
  void feed(std::string_view bytes, const Sink& sink);

 private:
  void onLine(const Sink& sink);
  std::string line_;
  SseEvent event_;
  bool has_data_ = false;
  bool after_return_ = false;  // a line feed now belongs to the line before
  bool first_line_ = true;
};

}  // namespace aragora::providers
