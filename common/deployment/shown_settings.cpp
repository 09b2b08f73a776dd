#include "common/deployment/shown_settings.h"

#include "common/base/redact.h"
#include "common/config/catalogue.h"
#include "common/crypto/hash.h"

namespace aragora::deployment {

std::string shown(const config::Setting& setting, const config::Candidate& candidate) {
  if (!candidate.resolved) return "«printed by a program, not run»";
  return setting.secret ? crypto::fingerprint(candidate.text) : redact(candidate.text.reveal());
}

json::object describe(const config::Setting& setting, const config::Config& config) {
  json::array shadowed;
  const auto& all = config.candidates(setting.key);
  for (std::size_t i = 1; i < all.size(); ++i)
    shadowed.push_back(json::object{{"value", shown(setting, all[i])}, {"origin", all[i].origin.text}});
  json::value value = all.empty() ? (setting.fallback.empty() ? json::value(nullptr) : json::value(setting.fallback))
                                  : json::value(shown(setting, all[0]));
  return {{"value", value},
          {"origin", config.origin(setting.key).text},
          {"secret", setting.secret},
          {"shadowed", shadowed}};
}

}  // namespace aragora::deployment
