// A window that slides: in whatever span of the window's length one looks, no more than `limit` events were allowed,
// and as many may come at once or evenly. What is kept of a client is when its events were, each until it is a window
// old. Events within a 512th of the window are kept as one with the time of the last, so that what is kept is bounded;
// whoever comes evenly with up to 512 events a window is counted exactly. The same arithmetic decides in this process
// and, written again in Lua, in Redis.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace aragora::web {

using Span = std::chrono::microseconds;

struct Rate {
  std::int64_t limit = 0;  // events; 0 is no limit
  Span window = std::chrono::minutes(1);
};

enum class Counting {
  Take,      // counts when it is allowed
  Look,      // says what Take would
  GiveBack,  // undoes the last Take
};

struct Verdict {
  bool allowed = true;
  std::int64_t remaining = 0;  // that would be allowed at once
  Span wait{0};                // until there is one more
};

class Events {
 public:
  // `now` is a clock's that never goes back.
  Verdict decide(const Rate& rate, Span now, Counting counting);
  // Counted in here without a question.
  void add(const Rate& rate, Span now);
  // Of those that were kept when it was last decided: after that moment.
  std::int64_t after(Span moment) const;
  // When the last was; before any time without one.
  Span last() const { return kept_.empty() ? Span::min() : kept_.back().at; }
  std::size_t size() const { return kept_.size(); }

 private:
  struct Group {
    Span at;  // of the last of them
    std::int64_t count;
  };
  void forget(Span until);
  void giveBack();
  Span untilOneMore(const Rate& rate, Span now) const;

  std::vector<Group> kept_;  // the oldest first
  std::int64_t total_ = 0;
};

constexpr std::int64_t kGroupsInWindow = 512;
Span groupSpan(const Rate& rate);

// Never earlier than it is true.
std::int64_t wholeSeconds(Span span);

}  // namespace aragora::web
