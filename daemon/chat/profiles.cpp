#include "daemon/chat/profiles.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "daemon/debate/consensus.h"

namespace aragora::chat {

namespace {
bool isName(std::string_view text) {
  return !text.empty() && text.size() <= 40 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") == std::string_view::npos;
}

[[noreturn]] void refuse(const std::string& entry, const std::string& what) {
  throw Error(Code::Config, fmt::format("chat.profiles: '{}': {}", printable(entry, 80), what),
              "write it as: quick demo+demo+demo rounds=0 consensus=majority");
}

Profile parse(const std::string& entry, std::int64_t most_rounds) {
  auto words = split(entry, ' ');
  Profile profile{words.empty() ? "" : words.front()};
  if (!isName(profile.name)) refuse(entry, "a name has 1 to 40 of a-z, 0-9, '-', '_' and '.'");
  for (std::size_t i = 1; i < words.size(); ++i) {
    const auto equals = words[i].find('=');
    const auto key = equals == std::string::npos ? std::string("agents") : words[i].substr(0, equals);
    const auto value = equals == std::string::npos ? words[i] : words[i].substr(equals + 1);
    if (key == "agents") {
      profile.agents = split(value, '+');
      if (profile.agents.size() < 2) refuse(entry, "a debate has two agents or more, with '+' between them");
    } else if (key == "rounds") {
      profile.rounds = parseInteger(value);
      if (!profile.rounds || *profile.rounds < 0 || *profile.rounds > most_rounds)
        refuse(entry, fmt::format("rounds is a whole number from 0 to {}", most_rounds));
    } else if (key == "consensus") {
      if (!debate::parseConsensusKind(value))
        refuse(entry, fmt::format("there is no consensus '{}'", printable(value, 40)));
      profile.consensus = value;
    } else {
      refuse(entry, fmt::format("'{}' is none of agents, rounds, consensus", printable(key, 40)));
    }
  }
  return profile;
}
}  // namespace

json::object Profile::request() const {
  json::object body;
  if (!agents.empty()) body["agents"] = json::array(agents.begin(), agents.end());
  if (rounds) body["rounds"] = *rounds;
  if (!consensus.empty()) body["consensus"] = consensus;
  return body;
}

Profiles parseProfiles(const std::vector<std::string>& entries, std::int64_t most_rounds) {
  Profiles profiles{{std::string(kDefaultProfile), {std::string(kDefaultProfile)}}};
  for (const auto& entry : entries) {
    auto profile = parse(std::string(trim(entry)), most_rounds);
    const auto name = profile.name;
    profiles[name] = std::move(profile);
  }
  return profiles;
}

const Profile* findProfile(const Profiles& profiles, const std::string& model) {
  auto name = startsWith(model, kModelPrefix) ? model.substr(kModelPrefix.size()) : model;
  if (name == "aragora") name = kDefaultProfile;
  const auto found = profiles.find(name);
  return found == profiles.end() ? nullptr : &found->second;
}

}  // namespace aragora::chat
