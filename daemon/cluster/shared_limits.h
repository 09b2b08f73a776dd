// The counts of all instances, in Redis: one Lua script decides all buckets of a request in one step, by Redis's clock,
// so that neither the clocks of instances nor their number matter. Thread-safe, never waits.
#pragma once

#include "daemon/cluster/sisters.h"
#include "daemon/web/limits.h"

namespace aragora::cluster {

class SharedLimits : public web::SharedCounts {
 public:
  // `instances` is how many the configuration speaks of.
  SharedLimits(Sisters& sisters, std::size_t instances);

  bool count(const std::vector<Question>& questions, web::Counting counting, Done done) override;
  std::size_t sharers() const override { return std::max(instances_, sisters_.alive()); }

 private:
  Sisters& sisters_;
  std::size_t instances_;
  redis::Script script_;
  std::shared_ptr<std::atomic<bool>> refused_ = std::make_shared<std::atomic<bool>>(false);  // told; with answers
};

}  // namespace aragora::cluster
