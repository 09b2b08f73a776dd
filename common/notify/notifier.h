// Tells people what is wrong: once when it is new, again while it lasts, once when it is over. What nobody takes is
// kept and tried again by whoever comes next. Knows nothing of who found it. One owner; processes share the directory.
#pragma once

#include "common/notify/delivery.h"
#include "common/notify/kept.h"
#include "common/notify/told.h"

namespace aragora::notify {

class Notifier {
 public:
  explicit Notifier(Options options)
      : options_(std::move(options)), kept_(options_.directory / "kept"), told_(options_.directory) {}

  const Options& options() const { return options_; }
  const Told& told() const { return told_; }
  const Kept& kept() const { return kept_; }

  // The outcome on each channel for people; empty when it was told already, or nobody is to be told. `invocation` is
  // the run of a unit that found it.
  std::vector<Outcome> report(const Problem& problem, const Until& until, const std::string& invocation = {});
  // That `key` is no problem (any more): told when it was one. `summary` says what is well again.
  std::vector<Outcome> settle(std::string_view key, const std::string& summary, const Until& until);
  std::vector<Outcome> tell(const Event& event, const Until& until);
  // What was kept and is due, until a channel fails again.
  std::vector<Outcome> tellKept(const Until& until);

 private:
  Options options_;
  Kept kept_;
  Told told_;
};

}  // namespace aragora::notify
