// The daemon's parts, put together: built and started in order, stopped in reverse, each with a deadline.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/base/error.h"
#include "common/config/loader.h"
#include "common/database/connection.h"

namespace aragora::daemon {

void configureLog(const config::Config& config);
// The start-up checks of validate-env, for a reload those that ask no backend. Throws with all failures: Config,
// Permission or Unreachable.
enum class Occasion { Start, Reload };
// What is wrong with `same_certificate`, one that is in use already, is answered instead.
std::vector<std::string> requireStartable(const config::Loaded& loaded, Occasion occasion = Occasion::Start,
                                          bool same_certificate = false);
// Outside production the embedded database migrates itself; everything else is an operator's decision.
void prepareDatabase(const config::Config& config, const database::Target& target);

class Assembly {
 public:
  // Binds the port and opens the database; nothing runs yet.
  explicit Assembly(config::Loaded loaded);
  ~Assembly();

  void start();
  struct Reloaded {
    std::vector<std::string> applied;        // settings, by name
    std::vector<std::string> after_restart;  // those that only a restart applies, with both values
    std::vector<std::string> warnings;       // of what a restart would refuse
    std::optional<Error> refused;            // then nothing was changed
  };
  // Everything is looked at before anything is changed. `actor` is who asked for it, for the audit log.
  Reloaded reload(const std::function<config::Loaded()>& load, const std::string& actor);
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
