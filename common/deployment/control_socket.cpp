#include "common/deployment/control_socket.h"

#include <cstdlib>
#include <optional>

#include "common/base/file.h"
#include "common/base/text.h"

namespace aragora::deployment {

namespace {
constexpr const char* kName = "control.sock";
// StateDirectory= and RuntimeDirectory= of aragora.service.
constexpr const char* kServiceState = "/var/lib/aragora";
constexpr const char* kServiceRuntime = "/run/aragora";

// systemd.exec(5): several are separated by colons.
std::optional<fs::path> runtimeDirectory() {
  const char* given = std::getenv("RUNTIME_DIRECTORY");
  if (given == nullptr || *given != '/') return std::nullopt;
  return fs::path(split(given, ':').front());
}
}  // namespace

fs::path controlSocket(const config::Config& config) {
  return runtimeDirectory().value_or(config.stateDirectory()) / kName;
}

fs::path controlSocketToAsk(const config::Config& config, const std::string& config_file) {
  std::error_code ignored;
  const bool services = config.isSet(config::key::kStateDirectory) ? config.stateDirectory() == kServiceState
                                                                   : startsWith(config_file, "/etc/aragora/");
  const bool beside = !runtimeDirectory() && services;
  return beside && fs::is_directory(kServiceRuntime, ignored) ? fs::path(kServiceRuntime) / kName
                                                              : controlSocket(config);
}

}  // namespace aragora::deployment
