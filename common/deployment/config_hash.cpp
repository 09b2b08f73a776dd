#include "common/deployment/config_hash.h"

#include <map>

#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/config/catalogue.h"
#include "common/crypto/hash.h"

namespace aragora::deployment {

namespace {
using config::Setting;
using config::Type;

bool ofOneMachine(const Setting& setting) {
  return setting.type == Type::Path || setting.type == Type::Address || setting.type == Type::Listen ||
         setting.key == config::key::kPort;
}

// What is written in several ways and means one thing.
std::string valueOf(const Setting& setting, const config::Config& config) {
  switch (setting.type) {
    case Type::Flag:
      return config.flag(setting.key) ? "true" : "false";
    case Type::Integer:
      return std::to_string(config.integer(setting.key));
    case Type::List:
    case Type::Networks:
    case Type::Origins:
      return redact(join(config.list(setting.key), ","));
    default:
      return redact(config.text(setting.key));
  }
}
}  // namespace

json::object hashedSettings(const config::Config& at_start, const config::Config& now) {
  const config::Config nothing_set;
  std::map<std::string_view, std::string> sorted;
  for (const auto& setting : config::catalogue()) {
    const auto& config = setting.reloadable ? now : at_start;
    if (setting.secret || ofOneMachine(setting) || !config.isSet(setting.key)) continue;
    auto value = valueOf(setting, config);
    // Without a default in the table another setting decides what holds where nothing is said.
    if (setting.fallback.empty() || value != valueOf(setting, nothing_set)) sorted[setting.key] = std::move(value);
  }
  json::object hashed;
  for (const auto& [name, value] : sorted) hashed[name] = value;
  return hashed;
}

std::string configHash(const config::Config& at_start, const config::Config& now) {
  return crypto::sha256Hex(toJson(hashedSettings(at_start, now)));
}

}  // namespace aragora::deployment
