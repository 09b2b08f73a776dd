#include "common/base/money.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace aragora {

namespace {
constexpr std::size_t kPlaces = 12;

bool digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}
}  // namespace

std::optional<Picos> parseUsd(std::string_view text) {
  const auto point = text.find('.');
  const auto whole = text.substr(0, point);
  const auto part = point == std::string_view::npos ? std::string_view() : text.substr(point + 1);
  if (!digits(whole) || part.size() > kPlaces) return std::nullopt;
  if (point != std::string_view::npos && !digits(part)) return std::nullopt;
  std::string all(whole);
  all += part;
  all.append(kPlaces - part.size(), '0');
  Picos amount = 0;
  for (const char c : all) {
    const Picos digit = c - '0';
    if (amount > (std::numeric_limits<Picos>::max() - digit) / 10) return std::nullopt;
    amount = amount * 10 + digit;
  }
  return amount;
}

std::string toUsd(Picos amount) {
  const bool negative = amount < 0;
  const auto size = negative ? 0 - static_cast<std::uint64_t>(amount) : static_cast<std::uint64_t>(amount);
  auto text = fmt::format("{}{}", negative ? "-" : "", size / kPicosPerUsd);
  auto part = fmt::format("{:012}", size % kPicosPerUsd);
  part.erase(part.find_last_not_of('0') + 1);
  if (!part.empty()) text += "." + part;
  return text;
}

std::string shownUsd(Picos amount) {
  const auto exact = toUsd(amount);
  const auto point = exact.find('.');
  if (point == std::string::npos) return "$" + exact + ".00";
  auto places = exact.size() - point - 1;
  if (places < 2) return "$" + exact + std::string(2 - places, '0');
  if (amount >= kPicosPerUsd / 100) return "$" + exact.substr(0, point + 3);
  return "$" + exact;
}

}  // namespace aragora
