#include "daemon/api/allowed_models.h"

#include "common/base/text.h"
#include "common/models/catalogue.h"

namespace aragora::api {

namespace {
// What answers in this process.
bool costsNothing(std::string_view provider) { return provider == "demo" || provider == "sim"; }
}  // namespace

bool mayAsk(const accounts::Principal& principal, const providers::Providers::Seat& seat, const Services& services) {
  if (principal.caller != accounts::Caller::User || principal.role == accounts::Role::Admin) return true;
  return costsNothing(seat.provider->name()) ||
         models::allowed(services.options.models_allowed, seat.provider->name(), seat.model);
}

void requireAllowedModels(const store::Debate& draft, const web::Request& request, const Services& services) {
  std::vector<std::string> refused;
  auto asked = draft.agents;
  const auto options = tryParseJson(draft.options);
  if (options && options->is_object()) asked.push_back(jsonTextOr(options->get_object(), "judge", ""));
  for (const auto& agent : asked) {
    std::string why;
    const auto seat = services.providers.find(agent, why);
    if (seat && !mayAsk(request.principal, *seat, services)) refused.push_back(printable(agent, 60));
  }
  if (!refused.empty())
    throw Error(Code::Forbidden,
                fmt::format("{} {} not for members to ask", join(refused, ", "), agreeing(refused.size(), "is", "are")),
                "an administrator decides which models are (models.allowed)");
}

}  // namespace aragora::api
