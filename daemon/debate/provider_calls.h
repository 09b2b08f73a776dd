// The provider calls of one debate that are on their way, a thread each. Ends them when destroyed. One owner; the
// threads hand their answers over.
#pragma once

#include "daemon/debate/protocol.h"
#include "daemon/debate/runner.h"
#include "daemon/debate/spending.h"

namespace aragora::debate {

// Why calls fail, as metrics tell it.
inline constexpr std::array<std::string_view, 4> kErrorTypes{"timeout", "unreachable", "cancelled", "other"};

// What the rules are told of a debate's row.
Setup setupOf(const store::Debate& debate, std::vector<std::string> documents);
// The digest of everything that is said to the provider, as it is recorded with each try.
std::string requestHash(const Inquiry& inquiry);

class ProviderCalls {
 public:
  ProviderCalls(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
                const Control& control, Deadline deadline, Deadline debating_until);
  ~ProviderCalls();
  ProviderCalls(const ProviderCalls&) = delete;
  ProviderCalls& operator=(const ProviderCalls&) = delete;

  // There was a try before, of this number.
  void tried(const Place& place, std::int64_t attempt);
  // In a thread of its own, or here when no thread can be had.
  void start(Inquiry inquiry);
  // The time for debating is over: breaks off what is asked before a vote, and records what became of it; votes that
  // are on their way stay so. Throws what recording threw.
  void hurry();
  // The debate ends: breaks off the calls that are open, and records what became of them. Throws what recording threw.
  void close();
  // At least one answer, unless it is time to stop. Throws what recording an answer threw.
  std::vector<Answer> wait();
  // Those that are there.
  std::vector<Answer> take();

 private:
  void stop();
  void make(const Inquiry& inquiry, std::int64_t attempt);
  std::optional<Answer> ask(const Inquiry& inquiry, std::int64_t attempt);
  bool reserved(const store::Call& call, Bill& bill, providers::Question& question);
  // By hurry(), nothing else.
  bool overtime(const Place& place) const;
  Answer overBudget(const Place& place, const Bill& bill);

  const store::Debate& debate_;
  const store::Lease& lease_;
  const RunServices& services_;
  const Control& control_;
  Deadline deadline_;
  Deadline debating_until_;
  std::map<Place, std::int64_t> attempts_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> hurried_{false};
  std::stop_source stop_;
  std::stop_source debating_;  // of what is asked before a vote; stopped with stop_
  std::stop_callback<std::function<void()>> forward_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Answer> answers_;
  std::exception_ptr failure_;
  std::vector<std::jthread> threads_;
  std::vector<std::jthread> debating_threads_;
};

}  // namespace aragora::debate
