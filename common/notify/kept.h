// What could not be delivered: a file for each event and channel, below the state directory, without a secret in it.
// At most so many and so old; what goes for that is said in the log. Shared by processes; any thread.
#pragma once

#include "common/base/file.h"
#include "common/notify/options.h"

namespace aragora::notify {

struct KeptEvent {
  fs::path file;
  Channel channel = Channel::Webhook;
  Event event;
  int tries = 0;  // rounds
  Micros next_at = 0;
  std::string problem;
  bool unsure = false;  // whether it was not delivered
  Micros order = 0;     // also when the clock was set back in between
};

class Kept {
 public:
  explicit Kept(fs::path directory) : directory_(std::move(directory)) {}
  // Throws Error when it cannot be written down.
  void keep(Channel channel, const Event& event, const Sender& sender, const std::string& problem,
            bool unsure = false) const;
  // In the order in which they were kept. What cannot be read is none.
  std::vector<KeptEvent> all() const;
  std::vector<KeptEvent> of(Channel channel) const;
  bool holds(Channel channel, std::string_view key) const;
  // After another round that failed: when the next one is.
  void postpone(KeptEvent one, const Sender& sender, const std::string& problem, bool unsure = false) const;
  void giveUp(const KeptEvent& one, std::string_view why) const;  // and says so
  void remove(const KeptEvent& one) const;
  // To be the only one that tells by that channel; nullopt when somebody does.
  std::optional<FileLock> lock(Channel channel) const;

 private:
  void makePlace() const;
  void write(const KeptEvent& one, const Sender& sender) const;
  fs::path directory_;
};

// Also when it is to be so only after longer than anybody waits: by a clock that was ahead.
bool isDue(const KeptEvent& one, Micros now);

}  // namespace aragora::notify
