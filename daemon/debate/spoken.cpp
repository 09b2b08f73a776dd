#include "daemon/debate/spoken.h"

#include "common/base/text.h"

namespace aragora::debate {

namespace {
constexpr std::string_view kFence = "```";
constexpr std::size_t kLongestKey = 64;

// How many bytes at the end are of a character that is not whole (RFC 3629).
std::size_t incompleteTail(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;
    const std::size_t needs = byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC0U ? 2 : 1;
    return needs > back ? back : 0;
  }
  return 0;
}
}  // namespace

std::string_view spokenMember(store::Phase phase) {
  switch (phase) {
    case store::Phase::Propose:
    case store::Phase::Revise:
    case store::Phase::Synthesize:
      return "answer";
    case store::Phase::Critique:
      return "weakness";
    default:
      return {};
  }
}

std::string Spoken::take(std::string_view part) {
  std::string said;
  auto bytes = std::exchange(waiting_, {}) + std::string(part);
  if (form_ == Form::Unknown) {
    const auto begin = bytes.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos) return waiting_ = bytes, std::string();
    const auto rest = std::string_view(bytes).substr(begin);
    if (startsWith(kFence, rest.substr(0, kFence.size())) && rest.size() < kFence.size())
      return waiting_ = bytes, std::string();
    form_ = rest.front() == '{' || startsWith(rest, kFence) ? Form::Json : Form::Prose;
  }
  if (form_ == Form::Json) {
    for (const char c : bytes) read(c, said);
    bytes = std::move(said);
  }
  const auto tail = incompleteTail(bytes);
  if (tail > 0) waiting_ = bytes.substr(bytes.size() - tail);
  bytes.erase(bytes.size() - tail);
  return validUtf8(bytes) ? bytes : std::string();
}

void Spoken::read(char c, std::string& said) {
  if (in_ != In::Structure) return readText(c, said);
  switch (c) {
    case '{':
    case '[':
      ++depth_;
      value_next_ = false;
      break;
    case '}':
    case ']':
      --depth_;
      break;
    case ':':
      value_next_ = depth_ == 1;
      break;
    case ',':
      value_next_ = false;
      break;
    case '"':
      in_ = depth_ != 1 ? In::OtherText : !value_next_ ? In::Key : key_ == member_ ? In::Member : In::OtherText;
      if (in_ == In::Key) key_.clear();
      break;
    default:
      break;
  }
}

void Spoken::readText(char c, std::string& said) {
  if (in_hex_ || escaped_) return readEscape(c, said);
  if (c == '\\') {
    escaped_ = true;
  } else if (c == '"') {
    in_ = In::Structure;
  } else if (in_ == In::Member) {
    said += c;
  } else if (in_ == In::Key && key_.size() < kLongestKey) {
    key_ += c;
  }
}

void Spoken::readEscape(char c, std::string& said) {
  if (in_hex_) {
    hex_ += c;
    if (hex_.size() < 4) return;
    in_hex_ = false;
    put(static_cast<std::uint32_t>(std::strtoul(hex_.c_str(), nullptr, 16)), said);
    return;
  }
  escaped_ = false;
  switch (c) {
    case 'u':
      hex_.clear();
      in_hex_ = true;
      return;
    case 'n':
      return put('\n', said);
    case 't':
      return put('\t', said);
    case 'r':
      return put('\r', said);
    case 'b':
    case 'f':
      return put(' ', said);
    default:
      return put(static_cast<unsigned char>(c), said);
  }
}

// RFC 8259 section 7: what is outside of the Basic Multilingual Plane comes as two of them.
void Spoken::put(std::uint32_t code_point, std::string& said) {
  if (in_ != In::Member) return;
  if (code_point >= 0xD800 && code_point < 0xDC00) {
    surrogate_ = code_point;
    return;
  }
  if (code_point >= 0xDC00 && code_point < 0xE000) {
    if (surrogate_ == 0) return;
    code_point = 0x10000 + ((surrogate_ - 0xD800) << 10U) + (code_point - 0xDC00);
  }
  surrogate_ = 0;
  if (code_point == 0) return;
  if (code_point < 0x80) {
    said += static_cast<char>(code_point);
    return;
  }
  const int more = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  static constexpr unsigned kFirst[] = {0, 0xC0, 0xE0, 0xF0};
  said += static_cast<char>(kFirst[more] | (code_point >> (6U * static_cast<unsigned>(more))));
  for (int i = more - 1; i >= 0; --i)
    said += static_cast<char>(0x80U | ((code_point >> (6U * static_cast<unsigned>(i))) & 0x3FU));
}

}  // namespace aragora::debate
