#include "daemon/api/reports.h"

#include "common/base/error.h"

namespace aragora::api {

namespace {
Error tooMany() {
  return {Code::Overloaded, "as many looks at all debates as may be made at once are being made", "try again"};
}
}  // namespace

Reports::Place::Place(Reports& reports) : reports_(reports) {
  if (++reports_.taken_ <= kAtOnce) return;
  --reports_.taken_;
  throw tooMany();
}

Reports::Body Reports::statistics(const std::function<std::string()>& render) {
  if (auto fresh = freshStatistics()) return fresh;
  const std::unique_lock alone(rendering_, std::try_to_lock);
  if (!alone.owns_lock()) {
    const std::lock_guard lock(mutex_);
    if (statistics_) return statistics_;
    throw tooMany();
  }
  if (auto fresh = freshStatistics()) return fresh;  // made while we came here
  const Place place(*this);
  auto body = std::make_shared<const std::string>(render());
  const std::lock_guard lock(mutex_);
  statistics_ = body;
  made_ = std::chrono::steady_clock::now();
  return body;
}

Reports::Body Reports::freshStatistics() {
  const std::lock_guard lock(mutex_);
  return statistics_ && std::chrono::steady_clock::now() - made_ < kStays ? statistics_ : nullptr;
}

}  // namespace aragora::api
