#include "common/base/secret.h"

#include <cstring>

namespace aragora {

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) {
    wipe();
    value_ = other.value_;
  }
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    value_ = std::move(other.value_);
    other.wipe();
  }
  return *this;
}

bool Secret::operator==(const Secret& other) const {
  if (value_.size() != other.value_.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < value_.size(); ++i) {
    difference |= static_cast<unsigned char>(value_[i]) ^ static_cast<unsigned char>(other.value_[i]);
  }
  return difference == 0;
}

void Secret::wipe() noexcept {
  // explicit_bzero is not optimised away; capacity, not size, so that a shrunken string leaves nothing behind.
  explicit_bzero(value_.data(), value_.capacity());
  value_.clear();
}

}  // namespace aragora
