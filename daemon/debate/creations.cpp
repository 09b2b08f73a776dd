#include "daemon/debate/creations.h"

#include "common/base/error.h"

namespace aragora::debate {

std::optional<store::Replay> Creations::create(const store::Debate& debate, const Key& key, const audit::Entry& entry) {
  Job job{debate, key, entry, {}, {}, false};
  std::unique_lock lock(mutex_);
  waiting_.push_back(&job);
  changed_.wait(lock, [&] { return job.done || !writing_; });
  if (!job.done) {
    writing_ = true;
    const auto jobs = std::exchange(waiting_, {});
    lock.unlock();
    write(jobs);
    lock.lock();
    for (auto* written : jobs) written->done = true;
    writing_ = false;
    changed_.notify_all();
  }
  lock.unlock();
  if (job.failure) std::rethrow_exception(job.failure);
  return std::move(job.replay);
}

void Creations::write(const std::vector<Job*>& jobs) {
  try {
    return writeTogether(jobs);
  } catch (const Error& error) {
    // A database that is away is away for all; for anything else one of them may be the reason.
    if (jobs.size() == 1 || error.code() == Code::Unreachable || error.code() == Code::Overloaded) {
      for (auto* job : jobs) job->failure = std::current_exception();
      return;
    }
  } catch (...) {
    for (auto* job : jobs) job->failure = std::current_exception();
    return;
  }
  for (auto* job : jobs) write({job});
}

void Creations::writeTogether(const std::vector<Job*>& jobs) {
  database_.write([&](database::Connection& connection) {
    std::vector<audit::Entry> entries;
    for (auto* job : jobs) {
      job->replay = job->key ? store::Debates::takeKey(connection, *job->key, job->debate.created_at) : std::nullopt;
      if (job->replay) continue;
      for (auto& statement : debates_.creationOf(job->debate)) connection.later(std::move(statement));
      entries.push_back(job->entry);
    }
    audit::append(connection, keyring_, entries);
  });
}

}  // namespace aragora::debate
