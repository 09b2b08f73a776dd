// Fields of a request's head as an operator writes them, "Name: value" a line. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aragora::net {

struct HeaderLines {
  std::vector<std::pair<std::string, std::string>> fields;
  std::string problem;  // with the number of the line and without its value; empty when all is well
};
// Names are tokens (RFC 9110, 5.6.2), values visible ASCII and blanks; what frames a request is not taken.
HeaderLines parseHeaderLines(std::string_view text);

}  // namespace aragora::net
