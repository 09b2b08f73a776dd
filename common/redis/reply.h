// What is said to a Redis and what it answers (RESP2). Values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace aragora::redis {

using Command = std::vector<std::string>;

struct Reply {
  enum class Kind { Nil, Status, Error, Integer, Text, Array } kind = Kind::Nil;
  std::string text{};
  std::int64_t integer = 0;
  std::vector<Reply> elements{};
};

}  // namespace aragora::redis
