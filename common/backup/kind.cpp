#include "common/backup/kind.h"

#include "common/base/names.h"

namespace aragora::backup {

namespace {
constexpr Kind kKinds[] = {Kind::Full, Kind::Base, Kind::Configuration, Kind::Artifacts};
constexpr Names<Kind, 4> kNames{{{Kind::Full, "full"},
                                 {Kind::Base, "base"},
                                 {Kind::Configuration, "configuration"},
                                 {Kind::Artifacts, "artifacts"}}};
}  // namespace

std::span<const Kind> allKinds() { return kKinds; }
std::string name(Kind kind) { return std::string(nameIn(kNames, kind)); }
std::optional<Kind> parseKind(std::string_view name) { return parseIn(kNames, name); }

std::vector<std::string> kindNames() {
  std::vector<std::string> names;
  for (const auto kind : kKinds) names.push_back(name(kind));
  return names;
}

}  // namespace aragora::backup
