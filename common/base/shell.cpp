#include "common/base/shell.h"

#include <algorithm>
#include <cctype>

#include "common/base/text.h"

namespace aragora {

std::string shellWord(std::string_view word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("-_./:=,@%+").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return std::string(word);
  return fmt::format("'{}'", replaceAll(std::string(word), "'", "'\\''"));
}

}  // namespace aragora
