// Tells people what is wrong: once when it is new, again while it lasts, once when it is over. What nobody takes is
// kept and tried again by whoever comes next; of one key a channel hears in the order in which it happened. Knows
// nothing of who found it. One owner; processes share the directory.
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
  // What was kept for a channel that is not configured any more. For whoever has the configuration in force.
  void giveUpStrays() const;
  // Whether that run of a unit has said by itself what was wrong, if only to be told later.
  bool knowsRun(const std::string& invocation) const;

 private:
  std::vector<Channel> channels() const;
  Outcome tellOn(Channel channel, const Event& event, const Until& until);
  std::optional<FileLock> turnOn(Channel channel, const Until& until) const;
  std::optional<Outcome> tellEarlier(Channel channel, std::string_view key, const Until& until);
  Outcome tellOne(const KeptEvent& one, const Until& until);
  void tellWaiting(Channel channel, const Until& until, std::vector<Outcome>& outcomes);
  bool waits(std::string_view key) const;
  bool waitsEverywhere(const Problem& problem) const;
  Options options_;
  Kept kept_;
  Told told_;
};

}  // namespace aragora::notify
