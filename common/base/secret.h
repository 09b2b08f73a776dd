// Text that must never be seen: no stream operator, no formatter, wiped on destruction. `reveal()` is the one way to
// the bytes and easy to grep for. `describe()` is what may be shown: length and a short digest.
#pragma once

#include <string>
#include <string_view>

namespace aragora {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.wipe(); }
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { wipe(); }

  bool empty() const { return value_.empty(); }
  std::size_t size() const { return value_.size(); }
  const std::string& reveal() const { return value_; }
  bool operator==(const Secret& other) const;  // constant time for equal lengths

 private:
  void wipe() noexcept;
  std::string value_;
};

}  // namespace aragora
