#include "daemon/providers/codec/chat_errors.h"

#include <algorithm>

#include "daemon/providers/codec/codec.h"

namespace aragora::providers {

namespace {
// Codes of OpenAI, and OpenRouter's error_type. A code says more than the type beside it and the status before it.
constexpr std::pair<std::string_view, FailureKind> kCodes[] = {
    {"credit_balance_exhausted", FailureKind::Money},
    {"organization_spend_limit_exceeded", FailureKind::Money},
    {"project_spend_limit_exceeded", FailureKind::Money},
    {"organization_usage_limit_exceeded", FailureKind::Money},
    {"insufficient_quota", FailureKind::Money},
    {"billing_hard_limit_reached", FailureKind::Money},
    {"billing_not_active", FailureKind::Money},
    {"payment_required", FailureKind::Money},
    {"invalid_api_key", FailureKind::Credential},
    {"model_not_found", FailureKind::Credential},
    {"authentication", FailureKind::Credential},
    {"permission_denied", FailureKind::Credential},
    {"rate_limit_exceeded", FailureKind::Throttled},
    {"slow_down", FailureKind::Throttled},
    {"server_is_overloaded", FailureKind::Server},
    {"server_error", FailureKind::Server},
    {"provider_overloaded", FailureKind::Server},
    {"provider_unavailable", FailureKind::Server},
    {"timeout", FailureKind::Server},
    {"server", FailureKind::Server},
    {"invalid_request", FailureKind::Request},
    {"context_length_exceeded", FailureKind::Request},
    {"content_policy_violation", FailureKind::Refused},
    {"refusal", FailureKind::Refused},
};
// Types of OpenAI: less than a status says, more than nothing.
constexpr std::pair<std::string_view, FailureKind> kTypes[] = {
    {"invalid_request_error", FailureKind::Request}, {"authentication_error", FailureKind::Credential},
    {"permission_error", FailureKind::Credential},   {"not_found_error", FailureKind::Credential},
    {"rate_limit_error", FailureKind::Throttled},
};

template <std::size_t Size>
std::optional<FailureKind> kindIn(const std::pair<std::string_view, FailureKind> (&table)[Size],
                                  std::string_view word) {
  for (const auto& [known, kind] : table) {
    if (known == word) return kind;
  }
  return std::nullopt;
}

FailureKind kindOf(int status, std::string_view type, std::string_view code, std::string_view error_type) {
  // The type of a money-stop stands also where the code says something else.
  if (kindIn(kCodes, type) == FailureKind::Money) return FailureKind::Money;
  for (const auto word : {code, error_type}) {
    if (const auto kind = kindIn(kCodes, word)) return *kind;
  }
  if (status >= 300) return kindOfStatus(status);
  if (const auto kind = kindIn(kCodes, type)) return *kind;
  return kindIn(kTypes, type).value_or(FailureKind::Server);
}
}  // namespace

Failure chatError(const json::object& error, int status, std::optional<std::chrono::milliseconds> asked) {
  const auto number = static_cast<int>(std::clamp<std::int64_t>(jsonIntegerOr(error, "code", status), 0, 999));
  const auto* metadata = jsonObject(error, "metadata");
  const auto type = jsonTextOr(error, "type", "");
  const auto code = jsonTextOr(error, "code", "");
  const auto error_type = metadata != nullptr ? jsonTextOr(*metadata, "error_type", "") : std::string();
  auto kind = kindOf(number, type, code, error_type);
  // A budget that is only taken by calls which are open says when to come back.
  if (kind == FailureKind::Money && number == 402 && asked) kind = FailureKind::Throttled;
  return {kind, reasonOf(number, type, code.empty() ? error_type : code),
          kind == FailureKind::Money ? std::nullopt : asked};
}

void throwChatError(const json::object& holder) {
  if (const auto* error = jsonObject(holder, "error")) throw chatError(*error, 0);
  if (jsonText(holder, "error")) throw Failure(FailureKind::Server, reasonOf(0, "", ""));
}

}  // namespace aragora::providers
