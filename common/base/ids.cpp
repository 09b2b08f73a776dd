#include "common/base/ids.h"

#include <sys/random.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void fillRandom(void* buffer, std::size_t size) {
  ARAGORA_CHECK(::getrandom(buffer, size, 0) == static_cast<ssize_t>(size));
}
}  // namespace

std::string newUlid() {
  const auto milliseconds = static_cast<std::uint64_t>(nowMicros() / 1000);
  unsigned char random[10];
  fillRandom(random, sizeof random);
  std::string id(26, '0');
  for (int i = 0; i < 10; ++i) id[static_cast<std::size_t>(9 - i)] = kAlphabet[milliseconds >> (5 * i) & 31];
  __extension__ unsigned __int128 bits = 0;
  for (const unsigned char byte : random) bits = bits << 8 | byte;
  for (int i = 0; i < 16; ++i)
    id[static_cast<std::size_t>(25 - i)] = kAlphabet[static_cast<unsigned>(bits >> (5 * i)) & 31];
  return id;
}

std::optional<Micros> ulidTime(std::string_view ulid) {
  if (ulid.size() != 26) return std::nullopt;
  std::int64_t milliseconds = 0;
  for (std::size_t i = 0; i < ulid.size(); ++i) {
    const auto digit = kAlphabet.find(upper(ulid.substr(i, 1)));
    if (digit == std::string_view::npos) return std::nullopt;
    if (i < 10) milliseconds = milliseconds << 5 | static_cast<std::int64_t>(digit);
  }
  return milliseconds * 1000;
}

std::string instanceName() {
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  unsigned short random = 0;
  fillRandom(&random, sizeof random);
  return fmt::format("{}:{}:{:04x}", host, ::getpid(), random);
}

}  // namespace aragora
