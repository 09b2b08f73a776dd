// What a debate's instance keeps of those that listen elsewhere: who they are, and what is not sent to them yet. Both
// are bounded, whatever is asked or said. One owner, under its lock.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/wire/deltas.h"

namespace aragora::cluster {

// Which instances listen to which debates; each for a while, unless it asks again.
class Ears {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kPatience{15};
  static constexpr std::size_t kMostDebates = 10'000;
  static constexpr std::size_t kMostInstances = 16;  // of a debate
  static constexpr std::size_t kLongestName = 300;

  // Whoever is one too many is not heard.
  void add(const std::string& debate_id, const std::string& instance, Time now);
  bool any(const std::string& debate_id, Time now) const;
  std::vector<std::string> of(const std::string& debate_id, Time now) const;
  void forgetOld(Time now);
  std::size_t debates() const { return until_.size(); }

 private:
  std::unordered_map<std::string, std::map<std::string, Time>> until_;
};

// Parts of answers by their debates, those that continue each other as one.
class Unsent {
 public:
  static constexpr std::size_t kMostBytes = 1U << 20;
  using Said = std::map<std::string, std::vector<wire::Delta>>;

  bool add(const wire::Delta& delta);  // false when there is no room for it
  bool empty() const { return said_.empty(); }
  Said take();

 private:
  Said said_;
  std::size_t bytes_ = 0;
};

}  // namespace aragora::cluster
