// How often another provider was asked in place of the one that was meant, and why. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "daemon/providers/failure.h"

namespace aragora::providers {

struct Substitution {
  std::string from;
  std::string to;
  FailureKind reason = FailureKind::Rejected;  // of the first
  bool answered = false;                       // by the other
  std::uint64_t calls = 0;
};

class FallbackCounts {
 public:
  void note(const std::string& from, const std::string& to, FailureKind reason, bool answered) {
    const std::lock_guard lock(mutex_);
    ++calls_[{from, to, reason, answered}];
  }
  // It may come to that: counted from now on, at 0.
  void expect(const std::string& from, const std::string& to, FailureKind reason) {
    const std::lock_guard lock(mutex_);
    for (const bool answered : {false, true}) calls_.try_emplace({from, to, reason, answered}, 0U);
  }
  std::vector<Substitution> all() const {
    const std::lock_guard lock(mutex_);
    std::vector<Substitution> list;
    for (const auto& [what, calls] : calls_)
      list.push_back({std::get<0>(what), std::get<1>(what), std::get<2>(what), std::get<3>(what), calls});
    return list;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::tuple<std::string, std::string, FailureKind, bool>, std::uint64_t> calls_;
};

}  // namespace aragora::providers
