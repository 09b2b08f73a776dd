#include "common/models/reader.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "common/base/moment.h"
#include "common/base/text.h"
#include "common/config/toml_file.h"

namespace aragora::models {

namespace {
constexpr std::int64_t kDearest = 10'000'000'000;  // 10,000 dollars a million: nobody asks for so much
constexpr std::int64_t kMostTokens = 1'000'000'000;
constexpr std::int64_t kMostPercent = 10'000;

class Reader {
 public:
  Reader(const config::TomlTable& table, const std::string& name, std::vector<config::Problem>& problems)
      : table_(table), name_(name), problems_(problems), before_(problems.size()) {}

  std::optional<Model> read() {
    Model model;
    model.origin = fmt::format("{}:{}", name_, table_.line);
    model.provider = text("provider", true);
    model.id = text("id", true);
    model.aliases = list("aliases");
    model.openrouter_id = text("openrouter_id", false);
    model.family = text("family", true);
    model.effective_from = day("effective_from");
    model.prices = prices();
    model.long_context = longContext();
    model.max_output = number("max_output", 0, kMostTokens);
    model.context = number("context", 0, kMostTokens);
    model.supports = supports();
    model.source = text("source", true);
    model.checked_on = day("checked_on");
    checkProvider(model.provider);
    checkBands(model);
    checkNames();
    return problems_.size() == before_ ? std::optional(std::move(model)) : std::nullopt;
  }

 private:
  const config::TomlValue* value(const std::string& key) {
    known_.push_back(key);
    const auto found = table_.values.find(key);
    return found == table_.values.end() ? nullptr : &found->second;
  }
  void complain(const std::string& key, const std::string& what, const std::string& hint) {
    const auto found = table_.values.find(key);
    const int line = found == table_.values.end() ? table_.line : found->second.line;
    problems_.push_back({key, name_, fmt::format("{} {}", key, what), fmt::format("{}:{}", name_, line), hint});
  }
  std::string text(const std::string& key, bool required) {
    const auto* given = value(key);
    if (given == nullptr) {
      if (required) complain(key, "is missing", "every [[model]] has one; see aragora-models(5)");
      return {};
    }
    const auto* found = std::get_if<std::string>(&given->value);
    if (found != nullptr && !found->empty() && found->size() <= 200 && printable(*found) == *found) return *found;
    complain(key, "is no text of 1 to 200 characters", "write it between quotes");
    return {};
  }
  std::vector<std::string> list(const std::string& key) {
    const auto* given = value(key);
    if (given == nullptr) return {};
    if (const auto* found = std::get_if<std::vector<std::string>>(&given->value)) return *found;
    complain(key, "is no list of texts", "write it as [\"one\", \"two\"]");
    return {};
  }
  // `missing`: what it is without; nullopt when it has to be there.
  std::int64_t number(const std::string& key, std::optional<std::int64_t> missing, std::int64_t most) {
    const auto* given = value(key);
    if (given == nullptr) {
      if (!missing) complain(key, "is missing", "every [[model]] has one; see aragora-models(5)");
      return missing.value_or(0);
    }
    const auto* found = std::get_if<std::int64_t>(&given->value);
    if (found != nullptr && *found >= 0 && *found <= most) return *found;
    complain(key, fmt::format("is no whole number from 0 to {}", most),
             "prices are 10^-6 US dollars of a million tokens: 2500000 is 2.50 dollars a million");
    return 0;
  }
  Micros day(const std::string& key) {
    const auto given = text(key, true);
    if (given.empty()) return 0;
    if (const auto moment = parseDay(given)) return *moment;
    complain(key, "is no day", "write it as \"2026-11-28\"");
    return 0;
  }
  // What a cache costs is the price of input where nothing is said of it: no vendor asks more for reading.
  Prices prices() {
    Prices result;
    result.input = number("input", std::nullopt, kDearest);
    result.output = number("output", std::nullopt, kDearest);
    result.cache_read = number("cache_read", result.input, kDearest);
    result.cache_write_5m = number("cache_write_5m", result.input, kDearest);
    result.cache_write_1h = number("cache_write_1h", result.cache_write_5m, kDearest);
    return result;
  }
  LongContext longContext() {
    return {number("long_context_above", 0, kMostTokens), number("long_input_percent", 0, kMostPercent),
            number("long_output_percent", 0, kMostPercent)};
  }
  Supports supports() {
    Supports result;
    for (const auto& ability : list("supports")) {
      if (ability == "json_schema") {
        result.json_schema = true;
      } else if (ability == "temperature") {
        result.temperature = true;
      } else if (ability == "reasoning_effort") {
        result.reasoning_effort = true;
      } else if (ability == "system_role") {
        result.system_role = true;
      } else {
        complain("supports", fmt::format("has '{}', which is no ability", printable(ability, 60)),
                 "json_schema, temperature, reasoning_effort, system_role");
      }
    }
    return result;
  }
  void checkProvider(const std::string& provider) {
    if (provider.empty()) return;
    std::vector<std::string> names;
    for (const auto& info : config::networkProviders()) names.emplace_back(info.name);
    if (std::find(names.begin(), names.end(), provider) == names.end())
      complain("provider", fmt::format("is '{}', which is none", printable(provider, 60)), join(names, ", "));
  }
  // Exact money: no price of a long request ends in a fraction.
  void checkBands(const Model& model) {
    const auto& band = model.long_context;
    const auto& prices = model.prices;
    if (band.above == 0 && (band.input_percent != 0 || band.output_percent != 0))
      complain("long_context_above", "is missing", "say above how many tokens of input those percentages hold");
    if ((band.input_percent == 0) != (band.output_percent == 0))
      complain(band.input_percent == 0 ? "long_input_percent" : "long_output_percent", "is missing",
               "say both, or neither where they are not known");
    for (const auto price : {prices.input, prices.cache_read, prices.cache_write_5m, prices.cache_write_1h}) {
      if (price * band.input_percent % 100 != 0) {
        complain("long_input_percent", "makes a price with a fraction", "prices are whole numbers");
        break;
      }
    }
    if (prices.output * band.output_percent % 100 != 0)
      complain("long_output_percent", "makes a price with a fraction", "prices are whole numbers");
  }
  void checkNames() {
    for (const auto& [key, given] : table_.values) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      const auto meant = nearest(key, known_);
      complain(key, "is no key of a model", meant ? fmt::format("did you mean {}?", *meant) : join(known_, ", "));
    }
  }

  const config::TomlTable& table_;
  const std::string& name_;
  std::vector<config::Problem>& problems_;
  std::size_t before_;
  std::vector<std::string> known_{};
};
}  // namespace

std::vector<Model> readModels(std::string_view text, const std::string& name, std::vector<config::Problem>& problems) {
  std::vector<Model> models;
  std::set<std::tuple<std::string, std::string, Micros>> names;
  for (const auto& table : config::parseTomlTables(text, "model", name, problems)) {
    auto model = Reader(table, name, problems).read();
    if (!model) continue;
    auto called = model->aliases;
    called.push_back(model->id);
    for (const auto& one : called) {
      if (!names.insert({model->provider, one, model->effective_from}).second)
        problems.push_back({"id", name,
                            fmt::format("id '{}' of {} is there twice", printable(one, 60), model->provider),
                            model->origin, "one entry for each day on which its prices change (effective_from)"});
    }
    models.push_back(std::move(*model));
  }
  return models;
}

}  // namespace aragora::models
