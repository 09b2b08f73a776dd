#include "daemon/debate/spending.h"

#include "common/audit/audit.h"
#include "common/base/log.h"
#include "common/store/settings.h"

namespace aragora::debate {

namespace {
constexpr std::string_view kCapsSetting = "budget.caps";

bool costsNothing(const models::Model& model) {
  const auto& prices = model.prices;
  return prices.input == 0 && prices.output == 0 && prices.cache_read == 0 && prices.cache_write_5m == 0 &&
         prices.cache_write_1h == 0;
}

std::optional<Picos> lower(const std::optional<Picos>& one, const std::optional<Picos>& other) {
  return one && other ? std::min(*one, *other) : one ? one : other;
}

std::int64_t bytesOf(const providers::Question& question) {
  auto bytes = toJson(json::string(question.system)).size() + toJson(json::string(question.user)).size();
  if (question.shape) bytes += toJson(question.shape->schema).size() + question.shape->name.size();
  return static_cast<std::int64_t>(bytes);
}

store::Charge costOf(const std::optional<models::Model>& model, const providers::Answer& answer) {
  using State = store::ChargeState;
  if (answer.cost_picos && *answer.cost_picos >= 0) return {State::Settled, *answer.cost_picos};
  const auto& usage = answer.usage;
  const models::Tokens tokens{usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.output};
  const auto cost = model && answer.usage_known ? models::cost(*model, tokens) : std::nullopt;
  return cost ? store::Charge{State::Settled, *cost} : store::Charge{State::ChargedUnknown};
}

std::string shown(const std::optional<Picos>& cap) { return cap ? toUsd(*cap) : "none"; }
}  // namespace

std::optional<Picos> Bill::most(std::int64_t tokens) const {
  if (!model) return std::nullopt;
  auto highest = models::reservation(*model, request_bytes, tokens);
  if (!highest || !fallback) return highest;
  const auto other = models::reservation(*fallback, request_bytes, tokens);
  return other ? std::optional(std::max(*highest, *other)) : std::nullopt;
}

std::int64_t Bill::tokensFor(Picos granted) const {
  if (!model) return most_tokens;
  std::int64_t enough = 0;
  std::int64_t too_many = most_tokens + 1;
  while (too_many - enough > 1) {
    const auto middle = enough + (too_many - enough) / 2;
    const auto cost = most(middle);
    (cost && *cost <= granted ? enough : too_many) = middle;
  }
  return enough;
}

Spending::Spending(SpendingOptions options, metrics::Registry& metrics)
    : options_(std::move(options)), caps_(options_.caps), metrics_(metrics) {}

std::optional<models::Model> Spending::find(std::string_view provider, std::string_view model) const {
  return options_.models->find(provider, model, nowMicros());
}

Bill Spending::estimate(const store::Debate& debate, const std::string& agent, const store::Call& call,
                        const providers::Question& question) const {
  Bill bill;
  bill.caps = caps();
  bill.caps.debate = lower(bill.caps.debate, debate.budget);
  bill.model = find(call.provider, question.model);
  if (bill.model && costsNothing(*bill.model)) return bill;
  bill.request_bytes = bytesOf(question);
  bill.most_tokens = question.max_output_tokens > 0 ? question.max_output_tokens : options_.max_output_tokens;
  if (bill.model && bill.model->max_output > 0) bill.most_tokens = std::min(bill.most_tokens, bill.model->max_output);
  if (!question.substitute.empty()) bill.fallback = find("openrouter", question.substitute);
  auto wanted = bill.most(bill.most_tokens);
  const auto least = bill.most(std::min(bill.most_tokens, kLeastTokens));
  // So that the seats of a debate are asked at once, none of them takes more than its part while there is enough.
  if (wanted && least && bill.caps.debate && !debate.agents.empty())
    wanted =
        std::clamp(*bill.caps.debate / static_cast<Picos>(debate.agents.size()), *least, std::max(*least, *wanted));
  bill.reservation = store::Reservation{call.id,        debate.id, debate.owner,       debate.key_id,    call.provider,
                                        question.model, agent,     wanted.value_or(0), least.value_or(0)};
  if (!bill.caps.any() || (wanted && least)) return bill;
  bill.why_not = whyUnpriced(debate, call.provider, question.model);
  if (bill.why_not.empty())
    bill.why_not =
        fmt::format("what so long a request to {} costs is not known, and there is a budget", question.model);
  bill.reservation.reset();
  return bill;
}

std::string Spending::whyUnpriced(const store::Debate& debate, std::string_view provider,
                                  const std::string& model) const {
  if ((!debate.budget && !caps().any()) || find(provider, model)) return {};
  return fmt::format("the price of {} at {} is not known, and there is a budget: add it to models.toml",
                     model.empty() ? "a model without a name" : model, provider);
}

store::Charge Spending::chargeOf(const Bill& bill, const store::Call& call, const providers::Answer& answer) const {
  const bool other = !answer.provider.empty() && answer.provider != call.provider;
  auto model = find(other ? answer.provider : call.provider, answer.model);
  if (!model) model = other ? bill.fallback : bill.model;  // it may call itself by a date
  auto charge = costOf(model, answer);
  if (other) {
    charge.provider = answer.provider;
    charge.model = model ? model->id : answer.model;
  }
  return charge;
}

store::Charge Spending::chargeOf(const Error& failure) {
  const auto* known = dynamic_cast<const providers::Failure*>(&failure);
  return {known != nullptr && !known->maybeBilled() ? store::ChargeState::Released : store::ChargeState::ChargedUnknown,
          0};
}

void Spending::charged(const store::Call& call, const Bill& bill, const store::Charge& charge) const {
  if (!bill.reservation) return;
  // Of models that are known: others would be as many as somebody names.
  const auto& known = charge.provider.empty() ? bill.model : bill.fallback;
  const auto model = known ? known->id : std::string("other");
  const bool settled = charge.state == store::ChargeState::Settled;
  if (settled)
    metrics_.count("aragora_spend_usd_total", {{"provider", call.provider}, {"model", model}},
                   static_cast<double>(charge.cost) / static_cast<double>(kPicosPerUsd));
  metrics_.count("aragora_budget_calls_total",
                 {{"provider", call.provider}, {"outcome", std::string(store::name(charge.state))}});
  if (settled && bill.reservation->wanted > 0 && charge.cost > bill.reservation->wanted)
    log::warning("{} charged {} for a call of debate {} that could cost {} by its prices: see models.toml",
                 call.provider, shownUsd(charge.cost), call.debate_id, shownUsd(bill.reservation->wanted));
}

void Spending::tell(const std::vector<store::BudgetCrossing>& crossed) const {
  for (const auto& [budget, percent] : crossed) {
    metrics_.count("aragora_budget_thresholds_total",
                   {{"scope", std::string(store::name(budget.line.scope))}, {"percent", fmt::format("{}", percent)}});
    const auto level =
        percent < 90 || budget.line.scope == store::BudgetScope::Debate ? log::Level::Info : log::Level::Warning;
    log::tell(log::Event::BudgetThreshold, level, "{}: {} % of {} reached, {} charged and {} reserved",
              store::describe(budget.line), percent, shownUsd(budget.cap.value_or(0)), shownUsd(budget.charged()),
              shownUsd(budget.reserved));
  }
}

void recordCaps(database::Database& database, const crypto::Keyring& keyring, const store::BudgetCaps& caps,
                const std::string& actor) {
  const auto text = toJson(json::object{{"debate_usd", shown(caps.debate)},
                                        {"account_daily_usd", shown(caps.account_daily)},
                                        {"daily_usd", shown(caps.daily)}});
  database.write([&](database::Connection& connection) {
    const auto before = store::readSetting(connection, kCapsSetting);
    if (before == text || (!before && !caps.any())) return;
    connection.execute(
        "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO "
        "UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        {std::string(kCapsSetting), text, nowMicros()});
    audit::append(connection, keyring,
                  {actor,
                   "budget.change",
                   "budgets",
                   "success",
                   {},
                   {},
                   json::object{{"caps", parseJson(text, "caps")},
                                {"before", before ? parseJson(*before, "caps") : json::value(nullptr)}}});
  });
}

}  // namespace aragora::debate
