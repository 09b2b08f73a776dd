// Files that hold one secret each, as people, Kubernetes, Docker and systemd lay them out. Pure of settings: loader.cpp
// turns what is found here into problems. Any thread.
//
// Ownership and mode: root's, ours or the service's; readable by nobody else, except by the service's group. Secret
// mounts (tmpfs mounted read-only, /run/secrets, /run/credentials) and files in a directory that others cannot enter
// may be 0444 and 0440, as Kubernetes' fsGroup and Compose leave them; elsewhere that is a warning in a container,
// where nobody else logs in, and a refusal on a machine. Links may lead to a file below their own directory (`key ->
// ..data/key`) and nowhere else. One newline at the end (LF or CRLF) belongs to the file and not to the secret.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace aragora::config {

struct SecretFile {
  struct Trouble {
    std::string message;
    std::string hint;
    bool warning = false;
    bool forbidden = false;  // this user may not read it
  };
  std::optional<std::string> text;  // nullopt when it could not be read
  std::vector<Trouble> troubles;
};

// `handed`: by systemd as a credential, who looked after its mode.
SecretFile readSecretFile(const std::string& path, bool handed);

// Root, ourselves, and as root the user that the units run as.
bool mayOwnSecrets(uid_t user);

// What nobody sees in a secret and every comparison does: `ends with a blank (U+0020)`. nullopt when there is nothing.
std::optional<std::string> invisibleIn(std::string_view text);

// Without the one newline that an editor adds.
std::string withoutFinalNewline(std::string text);

}  // namespace aragora::config
