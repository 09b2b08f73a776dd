// The one way to try again: how often, after which pauses, and never beyond a deadline. One object for one thing that
// is tried; any thread, one at a time.
#pragma once

#include <optional>
#include <string_view>

#include "common/net/limits.h"

namespace aragora::net {

struct RetryPolicy {
  int tries = 3;
  std::chrono::milliseconds first_pause{500};  // doubles
  std::chrono::milliseconds longest_pause{8000};
  std::chrono::milliseconds longest_asked{60'000};  // the other side may ask for so much; for more it is given up
};

class Retry {
 public:
  Retry(const RetryPolicy& policy, Deadline deadline, std::stop_token stop);
  // After a failure: waits as long as was asked for, or as its turn is, and answers true; false when there is nothing
  // more to be tried, or no time for it. Throws Error(Interrupted) when it is stopped.
  bool again(std::optional<std::chrono::milliseconds> asked = {});
  // Something was achieved: the count starts anew.
  void progress();

 private:
  RetryPolicy policy_;
  Deadline deadline_;
  std::stop_token stop_;
  int failures_ = 0;
};

// The pause before the next try, after so many failures (1, 2, …): it doubles, and up to a quarter is taken off it, so
// that many who failed at once do not come back at once.
std::chrono::milliseconds backOff(const RetryPolicy& policy, int failures);
// Overload and faults of the other side: 408, 429, 5xx.
bool statusWorthAnotherTry(int status);
// retry-after-ms, or Retry-After as seconds or date (RFC 9110, 10.2.3).
std::optional<std::chrono::milliseconds> askedPause(std::string_view retry_after, std::string_view retry_after_ms,
                                                    Micros now);

}  // namespace aragora::net
