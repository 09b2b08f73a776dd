#include "common/database/database.h"

namespace aragora::database {

std::string Database::whyFull() const {
  const std::lock_guard lock(full_mutex_);
  return full_;
}

void Database::foundSpace() {
  const std::lock_guard lock(full_mutex_);
  full_.clear();
}

void Database::notice(const Failure& failure) {
  if (failure.code() != Code::Conflict) ++failures_;
  if (failure.code() != Code::StorageFull) return;
  const std::lock_guard lock(full_mutex_);
  full_ = failure.what();
}

}  // namespace aragora::database
