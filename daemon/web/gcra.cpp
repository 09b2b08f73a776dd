#include "daemon/web/gcra.h"

#include <algorithm>

namespace aragora::web {

Verdict decide(const Rate& rate, Span ahead, Counting counting) {
  if (rate.limit <= 0) return {};
  const auto emission = rate.emission();
  const auto most = emission * rate.limit;  // the window, but for rounding
  Verdict verdict;
  verdict.ahead = std::clamp(ahead, Span(0), most);
  if (counting == Counting::GiveBack)
    verdict.ahead = std::max(verdict.ahead - emission, Span(0));
  else
    verdict.allowed = verdict.ahead + emission <= most;
  if (counting == Counting::Take && verdict.allowed) verdict.ahead += emission;
  verdict.remaining = (most - verdict.ahead) / emission;
  verdict.wait = std::max(verdict.ahead + emission - most, Span(0));
  verdict.full = verdict.ahead;
  return verdict;
}

std::int64_t wholeSeconds(Span span) { return (span.count() + 999'999) / 1'000'000; }

}  // namespace aragora::web
