// The counts of all instances, in Redis: one Lua script decides all buckets of a request in one step, by Redis's clock,
// so that neither the clocks of instances nor their number matter. One call is under way at a time; what comes
// meanwhile goes with the next, however much it is. Thread-safe, never waits.
#pragma once

#include "daemon/cluster/sisters.h"
#include "daemon/web/limits.h"

namespace aragora::cluster {

class SharedLimits : public web::SharedCounts {
 public:
  // `instances` is how many the configuration speaks of. The sisters outlive what is still to be answered.
  SharedLimits(Sisters& sisters, std::size_t instances);

  bool count(std::vector<Question> questions, web::Counting counting, Done done) override;
  std::size_t sharers() const override { return std::max(instances_, sisters_.alive()); }

 private:
  struct Asked {
    std::vector<Question> questions;
    web::Counting counting;
    Done done;
  };
  class Desk;
  Sisters& sisters_;
  std::size_t instances_;
  std::shared_ptr<Desk> desk_;  // shared with answers that are still to come
};

}  // namespace aragora::cluster
