// What is known of a model: its prices, limits and abilities. Money is a whole number of 10^-12 US dollars, which is
// what a token costs when a million of them cost that many 10^-6 dollars: nothing is rounded. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"

namespace aragora::models {

using Picos = std::int64_t;  // 10^-12 US dollars; int64 ends at 9.2 million dollars

// Of one token each.
struct Prices {
  Picos input = 0;
  Picos cache_read = 0;
  Picos cache_write_5m = 0;
  Picos cache_write_1h = 0;
  Picos output = 0;
};

// A request with more input than `above` costs these percentages of its prices, as a whole. Not known: what such a
// request costs cannot be said, and it is not made under a cap.
struct LongContext {
  std::int64_t above = 0;  // tokens of input, cached ones included; 0: one price for all
  std::int64_t input_percent = 0;
  std::int64_t output_percent = 0;
  bool known() const { return input_percent > 0 && output_percent > 0; }
};

struct Supports {
  bool json_schema = false;
  bool temperature = false;
  bool reasoning_effort = false;
  bool system_role = false;
};

struct Model {
  std::string provider;  // config::name(Provider)
  std::string id;
  std::vector<std::string> aliases{};
  std::string openrouter_id{};  // what OpenRouter calls it; empty: not there, as far as is known
  std::string family{};         // models of one family err alike
  Micros effective_from = 0;    // when these prices began
  Prices prices{};
  LongContext long_context{};
  std::int64_t max_output = 0;  // tokens; 0: not known
  std::int64_t context = 0;
  Supports supports{};
  std::string source{};   // where the prices stand
  Micros checked_on = 0;  // when somebody looked
  std::string origin{};   // "/etc/aragora/models.toml:12"
};

// As they are billed: each in one of these.
struct Tokens {
  std::int64_t input = 0;
  std::int64_t cache_read = 0;
  std::int64_t cache_write_5m = 0;
  std::int64_t cache_write_1h = 0;
  std::int64_t output = 0;
};

// Exactly. nullopt: the price of so long a request is not known, a count is negative, or it is beyond int64.
std::optional<Picos> cost(const Model& model, const Tokens& tokens);
// What a call can cost at most, before it is made. A token holds at least one byte, so a request of so many bytes, all
// of its JSON, has at most as many tokens; what a vendor adds of its own is allowed for. nullopt as above.
std::optional<Picos> reservation(const Model& model, std::int64_t request_bytes, std::int64_t max_output_tokens);

}  // namespace aragora::models
