#include "common/net/header_lines.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"

namespace aragora::net {

namespace {
bool isToken(std::string_view name) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !name.empty() && name.size() <= 100 && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  });
}
bool isValue(std::string_view value) {
  return value.size() <= 4096 &&
         std::all_of(value.begin(), value.end(), [](char c) { return c == '\t' || (c >= ' ' && c <= '~'); });
}
// Says where a request ends, or which: ours alone.
bool frames(std::string_view name) {
  static constexpr std::string_view kFraming[] = {
      "host", "content-length", "transfer-encoding", "connection", "content-encoding", "expect", "trailer", "upgrade"};
  return std::find(std::begin(kFraming), std::end(kFraming), lower(name)) != std::end(kFraming);
}
}  // namespace

HeaderLines parseHeaderLines(std::string_view text) {
  HeaderLines result;
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    const auto colon = line.find(':');
    const auto name = trim(line.substr(0, colon));
    const auto value = colon == std::string_view::npos ? std::string_view() : trim(line.substr(colon + 1));
    if (colon == std::string_view::npos || !isToken(name)) {
      result.problem = fmt::format("line {} is not \"Name: value\"", number);
    } else if (!isValue(value)) {
      result.problem = fmt::format("line {} has a value with bytes that a header does not take", number);
    } else if (frames(name)) {
      result.problem = fmt::format("line {}: {} is not for an operator to set", number, lower(name));
    } else {
      result.fields.emplace_back(name, value);
    }
    if (!result.problem.empty()) return result;
  }
  return result;
}

}  // namespace aragora::net
