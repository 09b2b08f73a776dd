#include "daemon/edge/message.h"

namespace aragora::edge {

std::string_view Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::vector<std::string_view> Request::lines(std::string_view name) const {
  std::vector<std::string_view> found;
  for (const auto& [key, value] : headers) {
    if (key == name) found.emplace_back(value);
  }
  return found;
}

std::string Request::list(std::string_view name) const {
  std::string all;
  for (const auto line : lines(name)) {
    if (!all.empty()) all += ", ";
    all += line;
  }
  return all;
}

}  // namespace aragora::edge
