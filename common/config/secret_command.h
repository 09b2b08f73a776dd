// Programs that print one secret each (NAME_COMMAND), such as `vault kv get …`. A secret store finds its own way by the
// variables and sockets that are its own; of ours it sees nothing. Ten seconds at most. Any thread.
#pragma once

#include <optional>
#include <string>

namespace aragora::config {

struct SecretCommand {
  std::optional<std::string> secret;  // nullopt: see the problem
  std::string problem{};
  std::string hint{};
};

// Typed by root on behalf of a service, it runs with the rights of `unit_user` (empty: with ours).
SecretCommand runSecretCommand(const std::string& command, const std::string& unit_user);

}  // namespace aragora::config
