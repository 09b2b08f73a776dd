#include <algorithm>

#include "common/models/model.h"

namespace aragora::models {

namespace {
// Of the vendor's own words around a request: roles, and what makes a model follow a schema.
constexpr std::int64_t kOverheadTokens = 2048;

// A sum that remembers that it went beyond int64.
class Sum {
 public:
  void add(std::int64_t tokens, Picos price, std::int64_t percent) {
    Picos product = 0;
    Picos whole = 0;
    // Prices times percentages are whole hundreds: the catalogue takes no others.
    valid_ = valid_ && tokens >= 0 && !__builtin_mul_overflow(price, percent, &whole) &&
             !__builtin_mul_overflow(tokens, whole / 100, &product) &&
             !__builtin_add_overflow(total_, product, &total_);
  }
  std::optional<Picos> total() const { return valid_ ? std::optional(total_) : std::nullopt; }

 private:
  Picos total_ = 0;
  bool valid_ = true;
};

struct Band {
  std::int64_t input_percent = 100;
  std::int64_t output_percent = 100;
};

// nullopt: nobody knows.
std::optional<Band> bandOf(const LongContext& long_context, std::int64_t input) {
  if (long_context.above == 0 || input <= long_context.above) return Band{};
  if (!long_context.known()) return std::nullopt;
  return Band{long_context.input_percent, long_context.output_percent};
}
}  // namespace

std::optional<Picos> cost(const Model& model, const Tokens& tokens) {
  std::int64_t input = 0;
  for (const auto part : {tokens.input, tokens.cache_read, tokens.cache_write_5m, tokens.cache_write_1h}) {
    if (part < 0 || __builtin_add_overflow(input, part, &input)) return std::nullopt;
  }
  const auto band = bandOf(model.long_context, input);
  if (!band) return std::nullopt;
  const auto& prices = model.prices;
  Sum sum;
  sum.add(tokens.input, prices.input, band->input_percent);
  sum.add(tokens.cache_read, prices.cache_read, band->input_percent);
  sum.add(tokens.cache_write_5m, prices.cache_write_5m, band->input_percent);
  sum.add(tokens.cache_write_1h, prices.cache_write_1h, band->input_percent);
  sum.add(tokens.output, prices.output, band->output_percent);
  return sum.total();
}

std::optional<Picos> reservation(const Model& model, std::int64_t request_bytes, std::int64_t max_output_tokens) {
  std::int64_t input = 0;
  if (request_bytes < 0 || __builtin_add_overflow(request_bytes, kOverheadTokens, &input)) return std::nullopt;
  auto band = bandOf(model.long_context, input);
  if (!band) return std::nullopt;
  // It may turn out shorter than the bound, where a discount for long ones would not be had.
  band->input_percent = std::max<std::int64_t>(band->input_percent, 100);
  band->output_percent = std::max<std::int64_t>(band->output_percent, 100);
  const auto& prices = model.prices;
  const auto dearest = std::max({prices.input, prices.cache_read, prices.cache_write_5m, prices.cache_write_1h});
  Sum sum;
  sum.add(input, dearest, band->input_percent);
  sum.add(max_output_tokens, prices.output, band->output_percent);
  return sum.total();
}

}  // namespace aragora::models
