// How often clients may come, over all instances: several buckets are asked together and count only when all of them
// allow it. Instances share their counts where there is something to share them in; when that does not answer, each
// counts for itself against its share of the limit, going on from what it knew. So a limit is never off, and nobody is
// shut out. Thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "daemon/edge/message.h"
#include "daemon/web/rate_limiter.h"

namespace aragora::web {

// Each with its rate; the names are what clients read in RateLimit-Policy.
enum class Bucket {
  Address,
  Account,
  Refresh,
  Debates,
  Reports,
  Handshakes,
  LoginNetwork,
  LoginPair,
  LoginAccount,
  LoginHourly,
  SecondFactor,
  Reset,
  Tries
};
std::string_view name(Bucket bucket);
// Whether it is of the caller, wherever they come from, and not of an address.
constexpr bool ofCaller(Bucket bucket) { return bucket == Bucket::Debates || bucket == Bucket::Reports; }

// One bucket of one client.
struct Limit {
  Bucket bucket = Bucket::Address;
  Rate rate{};
  LimitKey key{};
};
using LimitsOf = std::vector<Limit>;

struct Standing {
  Limit limit{};  // the rate that was in force: all of it, or a share
  Verdict verdict{};
};
using Standings = std::vector<Standing>;
bool admitted(const Standings& standings);
// Until all that refused would allow it.
std::int64_t retryAfter(const Standings& standings);
// RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), X-RateLimit-* of the bucket that has least
// left; nothing where an answer has them already.
void addHeaders(const Standings& standings, edge::Response& response);

// Where instances share their counts.
class SharedCounts {
 public:
  virtual ~SharedCounts() = default;
  struct Question {
    LimitKey key;
    Bucket bucket;
    Rate rate;
    std::int64_t least;  // events that must be there
  };
  struct Count {
    std::int64_t events = 0;  // that counted, before this one
    Span wait{0};             // until one fewer does, or as many fewer as it takes to be allowed
  };
  // In the order of the questions; empty when no answer came in time.
  using Done = std::function<void(const std::vector<Count>& counts)>;
  // False: not now, and `done` is never called. Otherwise once, in any thread. Counts all of them or none.
  virtual bool count(std::vector<Question> questions, Counting counting, Done done) = 0;
  // How many instances share a limit, at least one.
  virtual std::size_t sharers() const = 0;
};

class Limits {
 public:
  // Without `shared` every instance counts for itself.
  explicit Limits(SharedCounts* shared = nullptr) : shared_(shared) {}

  using Done = std::function<void(Standings)>;
  // Either answers at once, or `done` is called once, in another thread. Limits of 0 are left out. Never waits.
  std::optional<Standings> count(LimitsOf limits, Counting counting, Done done);
  // For workers.
  Standings countWaiting(LimitsOf limits, Counting counting);

 private:
  using Time = RateLimiter::Time;
  std::optional<Standings> refusedForSure(const LimitsOf& limits, const std::vector<RateLimiter::Known>& known) const;
  Standings countHere(const LimitsOf& limits, Counting counting);
  Standings note(const LimitsOf& limits, const std::vector<SharedCounts::Count>& counts, Counting counting, Time asked);

  SharedCounts* shared_;
  RateLimiter here_;
};

}  // namespace aragora::web
