#include "common/net/request_head.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/base/version.h"

namespace aragora::net {

namespace {
// Neither a blank, which ends a word, nor a control character; what is not ASCII has to be encoded.
bool isWord(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool isFieldValue(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= ' ' && byte != 0x7f) || c == '\t';
  });
}
}  // namespace

std::string requestHead(std::string_view method, const Url& url, const Headers& headers) {
  const auto target = url.target();
  const auto authority = url.authority();
  for (const auto word : {method, std::string_view(target), std::string_view(authority)}) {
    if (!isWord(word))
      throw Error(Code::Validation, fmt::format("'{}' cannot be asked for over HTTP", printable(word, 200)),
                  "percent-encode what is no letter or digit");
  }
  auto text =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: aragora/{}\r\n", method, target, authority, kVersion);
  for (const auto& [name, value] : headers) {
    if (!isWord(name) || name.find(':') != std::string::npos || !isFieldValue(value))
      throw Error(Code::Config, fmt::format("a control character in the header {}", printable(name, 80)));
    if (lower(name) != "host") text += fmt::format("{}: {}\r\n", name, value);
  }
  return text;
}

}  // namespace aragora::net
