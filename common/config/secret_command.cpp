#include "common/config/secret_command.h"

#include <unistd.h>

#include "common/base/account.h"
#include "common/base/error.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"
#include "common/config/secret_file.h"

namespace aragora::config {

namespace {
constexpr std::size_t kSecretLimit = 64 * 1024;  // of what a program prints
constexpr auto kCommandTimeout = std::chrono::seconds(10);
// What programs that keep secrets are told by the environment. Ours they do not see: a secret is no help to find
// another.
constexpr std::string_view kSecretStores[] = {"AWS_*",
                                              "AZURE_*",
                                              "GOOGLE_*",
                                              "CLOUDSDK_*",
                                              "VAULT_*",
                                              "BAO_*",
                                              "OP_*",
                                              "BW_*",
                                              "DOPPLER_*",
                                              "INFISICAL_*",
                                              "SOPS_*",
                                              "GNUPGHOME",
                                              "PASSWORD_STORE_*",
                                              "SSH_AUTH_SOCK",
                                              "DBUS_SESSION_BUS_ADDRESS",
                                              "CREDENTIALS_DIRECTORY",
                                              "SSL_CERT_FILE",
                                              "SSL_CERT_DIR",
                                              "HTTP_PROXY",
                                              "HTTPS_PROXY",
                                              "NO_PROXY",
                                              "http_proxy",
                                              "https_proxy",
                                              "no_proxy"};

// What root types on behalf of a service runs nothing with root's rights that the service runs with its own.
Command asTheUnitsUser(Command command, const std::string& unit_user) {
  const auto account = !unit_user.empty() && ::geteuid() == 0 ? findAccount(unit_user) : std::nullopt;
  return account && account->user != 0 ? commandAs(*account, std::move(command)) : command;
}
}  // namespace

SecretCommand runSecretCommand(const std::string& command, const std::string& unit_user) {
  try {
    Command program{split(command, ' '), {}, false};
    program.passes.assign(std::begin(kSecretStores), std::end(kSecretStores));
    const auto outcome = runCommand(asTheUnitsUser(std::move(program), unit_user), kCommandTimeout, kSecretLimit);
    if (outcome.status != 0)
      return {{},
              fmt::format("the program exited {} instead of printing the secret", outcome.status),
              "run it by hand as the service user"};
    return {withoutFinalNewline(outcome.output)};
  } catch (const Error& error) {
    return {{}, error.what(), error.hint()};
  }
}

}  // namespace aragora::config
