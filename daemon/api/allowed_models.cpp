#include "daemon/api/allowed_models.h"

#include "common/base/text.h"
#include "common/models/catalogue.h"

namespace aragora::api {

void requireAllowedModels(const std::vector<std::string>& agents, const web::Request& request,
                          const Services& services) {
  const auto& principal = request.principal;
  if (principal.caller != accounts::Caller::User || principal.role == accounts::Role::Admin) return;
  std::vector<std::string> refused;
  for (const auto& agent : agents) {
    std::string why;
    const auto seat = services.providers.find(agent, why);
    if (!seat || models::allowed(services.options.models_allowed, seat->provider->name(), seat->model)) continue;
    refused.push_back(printable(agent, 60));
  }
  if (!refused.empty())
    throw Error(Code::Forbidden,
                fmt::format("{} {} not for members to ask", join(refused, ", "), agreeing(refused.size(), "is", "are")),
                "an administrator decides which models are (models.allowed)");
}

}  // namespace aragora::api
