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
};

class Kept {
 public:
  explicit Kept(fs::path directory) : directory_(std::move(directory)) {}
  // Throws Error when it cannot be written down.
  void keep(Channel channel, const Event& event, const Sender& sender, const std::string& problem) const;
  // The oldest first. What cannot be read is none.
  std::vector<KeptEvent> all() const;
  // After another round that failed: when the next one is.
  void postpone(KeptEvent one, const Sender& sender, const std::string& problem) const;
  void remove(const KeptEvent& one) const;
  // To be the only one that tries; nullopt when somebody does.
  std::optional<FileLock> lock() const;

 private:
  void write(const KeptEvent& one, const Sender& sender) const;
  fs::path directory_;
};

}  // namespace aragora::notify
