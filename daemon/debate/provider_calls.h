// The provider calls of one debate that are on their way, a thread each. Ends them when destroyed. One owner; the
// threads hand their answers over.
#pragma once

#include "daemon/debate/protocol.h"
#include "daemon/debate/runner.h"

namespace aragora::debate {

// Why calls fail, as metrics tell it.
inline constexpr std::array<std::string_view, 4> kErrorTypes{"timeout", "unreachable", "cancelled", "other"};

class ProviderCalls {
 public:
  ProviderCalls(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
                const Control& control, Deadline deadline);
  ~ProviderCalls();
  ProviderCalls(const ProviderCalls&) = delete;
  ProviderCalls& operator=(const ProviderCalls&) = delete;

  // There was a try before, of this number.
  void tried(const Place& place, std::int64_t attempt);
  // In a thread of its own, or here when no thread can be had.
  void start(Inquiry inquiry);
  // The debate ends: breaks off the calls that are open, and records what became of them. Throws what recording threw.
  void close();
  // At least one answer, unless it is time to stop. Throws what recording an answer threw.
  std::vector<Answer> wait();

 private:
  void make(const Inquiry& inquiry, std::int64_t attempt);
  std::optional<Answer> ask(const Inquiry& inquiry, std::int64_t attempt);

  const store::Debate& debate_;
  const store::Lease& lease_;
  const RunServices& services_;
  const Control& control_;
  Deadline deadline_;
  std::map<Place, std::int64_t> attempts_;
  std::atomic<bool> closed_{false};
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> forward_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Answer> answers_;
  std::exception_ptr failure_;
  std::vector<std::jthread> threads_;
};

}  // namespace aragora::debate
