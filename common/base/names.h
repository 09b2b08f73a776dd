// The names of an enumeration's values, as they are stored and as people and clients see them: one table each, in the
// order of the values.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

namespace aragora {

template <typename Value, std::size_t Size>
using Names = std::array<std::pair<Value, std::string_view>, Size>;

template <typename Value, std::size_t Size>
constexpr std::string_view nameIn(const Names<Value, Size>& table, Value value) {
  return table.at(static_cast<std::size_t>(value)).second;
}

template <typename Value, std::size_t Size>
constexpr std::optional<Value> parseIn(const Names<Value, Size>& table, std::string_view name) {
  for (const auto& [value, known] : table) {
    if (known == name) return value;
  }
  return std::nullopt;
}

}  // namespace aragora
