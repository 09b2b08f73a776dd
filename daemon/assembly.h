// The daemon's parts, put together: built and started in order, stopped in reverse, each with a deadline.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/config/loader.h"
#include "common/database/connection.h"

namespace aragora::daemon {

void configureLog(const config::Config& config);
// The start-up checks of validate-env. Throws with all failures: Config, Permission or Unreachable.
void requireStartable(const config::Loaded& loaded);
// Outside production the embedded database migrates itself; everything else is an operator's decision.
void prepareDatabase(const config::Config& config, const database::Target& target);

class Assembly {
 public:
  // Binds the port and opens the database; nothing runs yet.
  explicit Assembly(config::Loaded loaded);
  ~Assembly();

  void start();
  // A configuration that cannot be loaded changes nothing.
  void reload(const std::function<config::Loaded()>& load);
  // Not ready, no new connections, requests finished, debates handed back. Within server.drain_seconds and two more.
  void stop();

  std::uint16_t port() const;
  // The settings that reload() applies, which is what the catalogue calls reloadable.
  static std::vector<std::string_view> reloadableSettings();

 private:
  struct Parts;
  struct Taker;
  static const std::vector<Taker>& takers();
  std::unique_ptr<Parts> parts_;
};

}  // namespace aragora::daemon
