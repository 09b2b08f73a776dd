#include "daemon/providers/sse.h"

#include "common/base/text.h"
#include "daemon/providers/failure.h"

namespace aragora::providers {

namespace {
constexpr std::size_t kMostBytes = 4U << 20;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
}  // namespace

void SseParser::feed(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    if (after_return_) {
      after_return_ = false;
      if (bytes[0] == '\n') {
        bytes.remove_prefix(1);
        continue;
      }
    }
    const auto end = bytes.find_first_of("\r\n");
    line_ += bytes.substr(0, end);
    if (line_.size() + event_.data.size() > kMostBytes)
      throw Failure(FailureKind::Malformed, "an event of more than 4 MB");
    if (end == std::string_view::npos) return;
    after_return_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    onLine(sink);
    line_.clear();
  }
}

void SseParser::onLine(const Sink& sink) {
  std::string_view line = line_;
  if (first_line_ && startsWith(line, kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  first_line_ = false;
  if (line.empty()) {
    if (has_data_) sink(event_);
    event_ = {};
    has_data_ = false;
    return;
  }
  const auto colon = line.find(':');
  const auto field = line.substr(0, colon);  // empty for a comment
  auto value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (startsWith(value, " ")) value.remove_prefix(1);
  if (field == "event") event_.event = std::string(value);
  if (field != "data") return;
  if (has_data_) event_.data += '\n';
  event_.data += value;
  has_data_ = true;
}

}  // namespace aragora::providers
