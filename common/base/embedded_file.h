// A text file compiled into the binary (migrations, the OpenAPI document). Static lifetime, immutable.
#pragma once

#include <string_view>
#include <vector>

namespace aragora {

struct EmbeddedFile {
  std::string_view path;  // relative to the repository root
  std::string_view text;
};

}  // namespace aragora
