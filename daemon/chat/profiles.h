// The models that the OpenAI-compatible API offers: aragora/NAME, each a way to hold a debate. Immutable.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/json.h"

namespace aragora::chat {

inline constexpr std::string_view kModelPrefix = "aragora/";
inline constexpr std::string_view kDefaultProfile = "default";

// What of a debate is not left to the deployment's defaults.
struct Profile {
  std::string name;
  std::vector<std::string> agents{};
  std::optional<std::int64_t> rounds{};
  std::string consensus{};

  // As POST /api/debates takes it.
  json::object request() const;
};

// By name; `default` is among them whether it is configured or not.
using Profiles = std::map<std::string, Profile>;
// Each "NAME AGENT+AGENT… rounds=N consensus=KIND", in that order or any other. Error(Config) naming the entry.
Profiles parseProfiles(const std::vector<std::string>& entries, std::int64_t most_rounds);
// The one that `model` names: aragora/NAME, NAME, or aragora for the default one. nullptr when there is none.
const Profile* findProfile(const Profiles& profiles, const std::string& model);

}  // namespace aragora::chat
