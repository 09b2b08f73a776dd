// The generic cell rate algorithm (ITU-T I.371): `limit` events a window, as many at once, no window edges. All that is
// kept of a client is how far its next theoretical arrival lies ahead of now. Pure: the same arithmetic decides in this
// process and, written again in Lua, in Redis.
#pragma once

#include <chrono>
#include <cstdint>

namespace aragora::web {

using Span = std::chrono::microseconds;

struct Rate {
  std::int64_t limit = 0;  // events; 0 is no limit
  Span window = std::chrono::minutes(1);
  Span emission() const { return window / limit; }
};

enum class Counting {
  Take,      // counts when it is allowed
  Look,      // says what Take would
  GiveBack,  // undoes one Take
};

struct Verdict {
  bool allowed = true;
  Span ahead{0};               // what is kept
  std::int64_t remaining = 0;  // that would be allowed at once
  Span wait{0};                // until one is allowed
  Span full{0};                // until all of them are
};

// `ahead` is what was kept, less the time that has passed; negative counts as nothing kept.
Verdict decide(const Rate& rate, Span ahead, Counting counting);

// Never earlier than it is true.
std::int64_t wholeSeconds(Span span);

}  // namespace aragora::web
