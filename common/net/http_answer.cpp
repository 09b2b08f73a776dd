#include "common/net/http_answer.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/net/failure.h"

namespace aragora::net {

namespace {
constexpr std::size_t kMostHead = 64 * 1024;
constexpr std::size_t kMostFields = 256;
constexpr std::size_t kMostLine = 4096;

[[noreturn]] void refuse(const std::string& reason) {
  throw Failure(Cause::Malformed, fmt::format("the answer is no HTTP: {}", reason));
}

bool digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string_view withoutReturn(std::string_view line) {
  if (endsWith(line, "\r")) line.remove_suffix(1);
  return line;
}

void readStatus(std::string_view line, Head& head) {
  const bool version = startsWith(line, "HTTP/1.1 ") || startsWith(line, "HTTP/1.0 ");
  const auto status = version ? line.substr(9, 3) : std::string_view();
  if (status.size() != 3 || !digits(status) || status[0] == '0' || (line.size() > 12 && line[12] != ' '))
    refuse(fmt::format("it begins with «{}»", printable(line, 60)));
  head.status = static_cast<int>(*parseInteger(status));
  head.http_1_0 = line[7] == '0';
}

void readField(std::string_view line, Head& head) {
  if (line[0] == ' ' || line[0] == '\t') {  // folded, as long ago (RFC 9112, 5.2)
    if (head.fields.empty()) refuse("a header line begins with a blank");
    head.fields.back().second += " " + std::string(trim(line));
    return;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) refuse("a header line without a name");
  if (head.fields.size() == kMostFields) refuse(fmt::format("more than {} header lines", kMostFields));
  head.fields.emplace_back(lower(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1))));
}
}  // namespace

std::string_view Head::field(std::string_view name) const {
  for (const auto& [field, value] : fields) {
    if (field == name) return value;
  }
  return {};
}

std::optional<std::uint64_t> Head::length() const {
  const auto text = field("content-length");
  if (!digits(text) || text.size() > 18) return std::nullopt;
  return static_cast<std::uint64_t>(*parseInteger(text));
}

std::optional<Head> parseHead(std::string_view bytes, std::size_t& used) {
  Head head;
  for (std::size_t at = 0;;) {
    const auto end = bytes.find('\n', at);
    if (end == std::string_view::npos || end > kMostHead) {
      if (bytes.size() > kMostHead) refuse("its head is too long");
      return std::nullopt;
    }
    const auto line = withoutReturn(bytes.substr(at, end - at));
    const bool first = at == 0;
    at = end + 1;
    if (first) {
      readStatus(line, head);
    } else if (!line.empty()) {
      readField(line, head);
    } else {
      used = at;
      return head;
    }
  }
}

Body::Body(const Head& head, bool of_head_request) {
  if (of_head_request || head.status == 204 || head.status == 304) return;
  const auto coding = head.field("transfer-encoding");
  if (!coding.empty()) {
    if (lower(coding) != "chunked") refuse(fmt::format("its transfer encoding is «{}»", printable(coding, 60)));
    state_ = State::ChunkSize;
    return;
  }
  const auto given = head.field("content-length");
  for (const auto& [name, value] : head.fields) {
    if (name == "content-length" && value != given) refuse("two different lengths");
  }
  const auto length = head.length();
  if (!given.empty() && !length) refuse("its length is no number");
  left_ = length.value_or(0);
  framed_ = length.has_value();
  state_ = !length ? State::UntilClose : left_ == 0 ? State::End : State::Length;
}

std::size_t Body::take(std::string_view bytes, const Sink& sink) {
  std::size_t used = 0;
  while (used < bytes.size() && state_ != State::End) {
    const auto rest = bytes.substr(used);
    const bool data = state_ == State::Length || state_ == State::UntilClose || state_ == State::ChunkData;
    used += data ? takeData(rest, sink) : takeLine(rest);
  }
  return used;
}

std::size_t Body::takeData(std::string_view bytes, const Sink& sink) {
  const auto size = state_ == State::UntilClose
                        ? bytes.size()
                        : static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
  sink(bytes.substr(0, size));
  if (state_ == State::UntilClose) return size;
  left_ -= size;
  if (left_ == 0) state_ = state_ == State::Length ? State::End : State::ChunkEnd;
  return size;
}

std::size_t Body::takeLine(std::string_view bytes) {
  const auto end = bytes.find('\n');
  line_ += bytes.substr(0, end);
  if (line_.size() > kMostLine) refuse("a line of its body is too long");
  if (end == std::string_view::npos) return bytes.size();
  onLine();
  line_.clear();
  return end + 1;
}

void Body::onLine() {
  const auto line = withoutReturn(line_);
  if (state_ == State::ChunkEnd) {
    if (!line.empty()) refuse("a chunk is longer than it says");
    state_ = State::ChunkSize;
  } else if (state_ == State::ChunkSize) {
    const auto size = trim(line.substr(0, line.find(';')));
    if (size.empty() || size.size() > 15 || size.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
      refuse("a chunk has no size");
    left_ = std::stoull(std::string(size), nullptr, 16);
    state_ = left_ == 0 ? State::Trailer : State::ChunkData;
  } else if (line.empty()) {
    state_ = State::End;
  } else if ((trailer_ += line.size()) > kMostHead) {
    refuse("its trailer is too long");
  }
}

}  // namespace aragora::net
