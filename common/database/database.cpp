#include "common/database/database.h"

#include "common/base/error.h"

namespace aragora::database {

std::string Database::whyFull() const {
  const std::lock_guard lock(full_mutex_);
  return full_;
}

void Database::foundSpace() {
  const std::lock_guard lock(full_mutex_);
  full_.clear();
}

void Database::noticingFull(const std::function<void()>& write) {
  try {
    write();
  } catch (const Error& error) {
    if (error.code() == Code::StorageFull) {
      const std::lock_guard lock(full_mutex_);
      full_ = error.what();
    }
    throw;
  }
}

}  // namespace aragora::database
