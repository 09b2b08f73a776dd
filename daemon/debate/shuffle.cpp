#include "daemon/debate/shuffle.h"

#include "common/crypto/hash.h"

namespace aragora::debate {

Random::Random(std::int64_t seed, std::string_view purpose) : state_(0) {
  const auto digest = crypto::sha256(fmt::format("{}|{}", seed, purpose));
  for (std::size_t i = 0; i < 8; ++i) state_ = state_ << 8U | static_cast<unsigned char>(digest[i]);
}

std::uint64_t Random::next() {
  state_ += 0x9e3779b97f4a7c15U;
  auto value = state_;
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

std::uint64_t Random::below(std::uint64_t bound) {
  const auto unbiased = UINT64_MAX - UINT64_MAX % bound;  // a multiple of the bound
  auto value = next();
  while (value >= unbiased) value = next();
  return value % bound;
}

}  // namespace aragora::debate
