// A Lua script that runs in Redis as one step: by its digest once the server knows it (EVALSHA), by its text when the
// server forgot it (a restart, SCRIPT FLUSH) or does not let us load it. Thread-safe.
#pragma once

#include <memory>
#include <mutex>

#include "common/redis/link.h"

namespace aragora::redis {

class Script {
 public:
  explicit Script(std::string text);

  // As Link::send().
  bool run(Link& link, const std::vector<std::string>& keys, const std::vector<std::string>& arguments,
           std::chrono::milliseconds within, Link::Done done);

 private:
  struct Known {  // shared with answers that are still to come
    std::string text;
    std::mutex mutex;
    std::string digest;
    bool asked = false;
  };
  static void learn(const std::shared_ptr<Known>& known, Link& link);
  std::shared_ptr<Known> known_ = std::make_shared<Known>();
};

}  // namespace aragora::redis
