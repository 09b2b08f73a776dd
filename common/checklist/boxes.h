// The boxes of the production checklist, in its order: one table. Each names what proves it: checks of validate-env,
// what `verify --url` sees, something that is looked at here, or a person.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace aragora::checklist {

// What is looked at for the checklist alone.
enum class Fact {
  None,
  ProviderKey,
  FallbackKey,
  PostgresUsed,
  RedisUsed,
  Declared,
  OriginsListed,
  SecretsManager,
  TokenLifetimes,
  HashedKeys,
  SecondFactors,
  AuditLog,
  AgentLatency,
  AllChecks,
};

struct BoxRow {
  std::string_view id;  // stable
  std::string_view section;
  std::string_view title;
  std::vector<std::string_view> checks{};  // ids of validate-env
  std::vector<std::string_view> visits{};  // ids of verify --url
  std::string_view command{};              // that looks at the same alone
  Fact fact = Fact::None;
  std::vector<std::string_view> metrics{};  // names, all of which the daemon exposes
  std::string_view alert{};                 // of Prometheus: the rule that does it
  std::string_view drilled{};               // how its box in the evidence of the last drill begins
  std::string_view document{};              // where it stands how a person does it
  bool of_release = false;                  // a confirmation is of the version that it was given for
};

std::span<const BoxRow> boxRows();
const BoxRow* findBox(std::string_view id);

}  // namespace aragora::checklist
