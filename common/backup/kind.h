// What a backup is of. The name of a kind is the name of its folder, what its manifests say and what `--kind` takes.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aragora::backup {

// Full: the database, logically. Base: the whole PostgreSQL cluster. Configuration: the settings with their secrets.
// Artifacts: the finished debates.
enum class Kind { Full, Base, Configuration, Artifacts };

std::span<const Kind> allKinds();
std::string name(Kind kind);
std::optional<Kind> parseKind(std::string_view name);
std::vector<std::string> kindNames();

}  // namespace aragora::backup
