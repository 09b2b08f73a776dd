// What the calls of debates may cost and did cost: an upper bound before each call, the exact sum after it, from the
// prices of models. The caps are an operator's (budget.*) and a debate's own; the ledger is common/store/budgets.
// Thread-safe.
#pragma once

#include "common/base/reloadable.h"
#include "common/crypto/keyring.h"
#include "common/metrics/metrics.h"
#include "common/models/catalogue.h"
#include "common/store/debates.h"
#include "daemon/providers/failure.h"
#include "daemon/providers/provider.h"

namespace aragora::debate {

struct SpendingOptions {
  std::shared_ptr<const models::Catalogue> models;  // shared with providers; nobody changes it
  store::BudgetCaps caps;                           // of each debate, of an account a day, of all a day
  std::int64_t max_output_tokens = 8192;            // of an answer, as configured
};

// One call, before it is made.
struct Bill {
  std::optional<store::Reservation> reservation;  // none: it costs nothing
  store::BudgetCaps caps;
  std::string why_not;  // it cannot be made under a cap; empty: it can
  std::int64_t request_bytes = 0;
  std::int64_t most_tokens = 0;
  std::optional<models::Model> model;
  std::optional<models::Model> fallback;  // what OpenRouter would be asked for instead
  // As many as the grant pays for.
  std::int64_t tokensFor(Picos granted) const;
  // What the call can cost at most. nullopt: nobody knows.
  std::optional<Picos> most(std::int64_t tokens) const;
};

class Spending {
 public:
  Spending(SpendingOptions options, metrics::Registry& metrics);

  // `call` has an id and a provider. Below `kLeastTokens` of answer a call is not made.
  static constexpr std::int64_t kLeastTokens = 1024;
  Bill estimate(const store::Debate& debate, const std::string& agent, const store::Call& call,
                const providers::Question& question) const;
  // Of a model that the debate may not ask: there is a budget, and nobody knows what it takes. Empty: it may.
  std::string whyUnpriced(const store::Debate& debate, std::string_view provider, const std::string& model) const;
  // Of a call that was answered, or not. What may have been billed and is not known keeps its reservation.
  store::Charge chargeOf(const Bill& bill, const store::Call& call, const providers::Answer& answer) const;
  static store::Charge chargeOf(const Error& failure);
  // In the log and in metrics, once it is durable.
  void charged(const store::Call& call, const Bill& bill, const store::Charge& charge) const;
  void tell(const std::vector<store::BudgetCrossing>& crossed) const;

  store::BudgetCaps caps() const { return *caps_.get(); }
  // In force from the next reservation on.
  void setCaps(const store::BudgetCaps& caps) { caps_.set(caps); }
  const models::Catalogue& models() const { return *options_.models; }

 private:
  std::optional<models::Model> find(std::string_view provider, std::string_view model) const;
  SpendingOptions options_;
  Reloadable<store::BudgetCaps> caps_;
  metrics::Registry& metrics_;
};

// Writes into the audit log that the caps are others than those that were in force before, at this or any instance.
void recordCaps(database::Database& database, const crypto::Keyring& keyring, const store::BudgetCaps& caps,
                const std::string& actor);

}  // namespace aragora::debate
