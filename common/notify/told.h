// What was told and lasts, so that nobody is told twice, also after a restart, and somebody is told when it is over.
// One small file below the state directory, shared by processes; any thread.
#pragma once

#include <chrono>
#include <functional>

#include "common/base/file.h"
#include "common/notify/event.h"

namespace aragora::notify {

struct Known {
  Problem what;
  Micros since = 0;
  Micros told_at = 0;
  std::string invocation;  // of systemd: the last run of a unit that said so
};

class Told {
 public:
  explicit Told(fs::path directory) : directory_(std::move(directory)) {}
  std::vector<Known> all() const;
  std::optional<Known> find(std::string_view key) const;
  // Problem when it is new or has become worse, Reminder when the last word of it is old; nullopt: it was told.
  std::optional<State> due(const Problem& problem, std::chrono::seconds remind, Micros now) const;
  // It lasts. `told`: somebody was told just now, and not that it will be tried again.
  void note(const Problem& problem, bool told, const std::string& invocation, Micros now) const;
  // Somebody heard of it just now, when it still lasts.
  void heard(std::string_view key, Micros now) const;
  void forget(std::string_view key) const;
  // What that run of a unit found, whether or not somebody was told.
  std::optional<Known> ofRun(const std::string& invocation) const;

 private:
  void change(const std::function<void(std::vector<Known>&)>& how) const;
  fs::path directory_;
};

}  // namespace aragora::notify
