// The daemon's parts, put together: built and started in order, stopped in reverse, each with a deadline.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/config/loader.h"
#include "common/database/connection.h"
#include "daemon/reloading.h"

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
  // Everything is looked at before anything is changed. `actor` is who asked for it, for the audit log.
  Reloaded reload(const std::function<config::Loaded()>& load, const std::string& actor);
  // Not ready, no new connections, requests finished, debates handed back. Within server.drain_seconds and two more.
  void stop();

  // What `aragora providers` shows: the circuits, as the API has them. Any thread.
  json::array breakers() const;
  std::uint16_t port() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace aragora::daemon
