#include "common/net/retry.h"

#include <ctime>
#include <random>

#include "common/base/text.h"

namespace aragora::net {

namespace {
using std::chrono::milliseconds;

milliseconds spread(milliseconds pause) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return pause - milliseconds(std::uniform_int_distribution<std::int64_t>(0, pause.count() / 4)(random));
}
}  // namespace

Retry::Retry(const RetryPolicy& policy, Deadline deadline, std::stop_token stop)
    : policy_(policy), deadline_(deadline), stop_(std::move(stop)) {}

bool Retry::again(std::optional<milliseconds> asked) {
  checkStopped(stop_);
  if (asked && asked->count() == 0) asked.reset();  // at once is not what it can have meant
  if (++failures_ >= policy_.tries || (asked && *asked > policy_.longest_asked)) return false;
  const auto span = asked ? *asked : backOff(policy_, failures_);
  if (remaining(deadline_) <= span) return false;
  pause(span, stop_);
  return true;
}

void Retry::progress() { failures_ = 0; }

milliseconds backOff(const RetryPolicy& policy, int failures) {
  const auto doubled = policy.first_pause * (1LL << std::clamp(failures - 1, 0, 20));
  return spread(std::min<milliseconds>(doubled, policy.longest_pause));
}

bool statusWorthAnotherTry(int status) { return status == 408 || status == 429 || status >= 500; }

std::optional<milliseconds> askedPause(std::string_view retry_after, std::string_view retry_after_ms, Micros now) {
  if (const auto span = parseInteger(retry_after_ms); span && *span >= 0) return milliseconds(*span);
  constexpr std::int64_t kMostSeconds = 10'000'000;
  if (const auto seconds = parseInteger(retry_after))
    return *seconds < 0 ? std::nullopt : std::optional(milliseconds(std::min(*seconds, kMostSeconds) * 1000));
  std::tm date{};
  const std::string text(retry_after);
  const char* end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
  if (text.empty() || end == nullptr || *end != '\0') return std::nullopt;
  return milliseconds(std::max<std::int64_t>(0, static_cast<std::int64_t>(::timegm(&date)) * 1000 - now / 1000));
}

}  // namespace aragora::net
