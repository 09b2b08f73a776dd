#include "daemon/debate/creations.h"

#include <set>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::debate {

namespace {
constexpr Micros kDay = 86'400'000'000;
constexpr std::int64_t kQuotaLock = 0x61726167;  // with a hash of the owner: one creation of an account at a time

[[noreturn]] void refuse(const std::string& what, std::int64_t limit, std::int64_t seconds) {
  throw Error(Code::RateLimited, fmt::format("this account may have {} {}", counted(limit, "debate"), what),
              "wait, or ask an administrator")
      .with(json::object{{"limit", limit}, {"retry_after", seconds}});
}

std::int64_t hashOf(const std::string& owner) {
  std::uint32_t hash = 2166136261U;  // FNV-1a
  for (const char byte : owner) hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619U;
  return hash;
}
}  // namespace

// SQLite has one writer; PostgreSQL lets one creation of an account through at a time. In order, so that two instances
// that create for the same accounts do not wait for each other.
void Creations::takeTurns(database::Connection& connection, const std::vector<Job*>& jobs) {
  if (connection.engine() != database::Engine::Postgres) return;
  std::set<std::int64_t> owners;
  for (const auto* job : jobs) {
    if (job->quota.limits()) owners.insert(kQuotaLock << 32U | hashOf(job->debate.owner));
  }
  for (const auto owner : owners) connection.later({"SELECT pg_advisory_xact_lock($1)", {owner}});
}

void Creations::requireRoom(database::Connection& connection, const std::string& owner, const Quota& quota) {
  if (quota.at_once > 0) {
    // As the index `debates_open` has it: costs what the owner has open, not what they ever had.
    const auto rows = connection.query(
        fmt::format("SELECT count(*) FROM debates WHERE coalesce(owner_id, '') = $1 AND status IN ({})",
                    store::openStatusesInSql()),
        {owner});
    if (rows.at(0).integer(0) >= quota.at_once) refuse("at once", quota.at_once, 5);
  }
  if (quota.per_day > 0) {
    const auto now = nowMicros();
    const auto rows = connection.query(
        "SELECT count(*), min(created_at) FROM (SELECT created_at FROM debates WHERE owner_id = $1 AND created_at > $2 "
        "UNION ALL SELECT created_at FROM removed_debates WHERE owner_id = $1 AND created_at > $2) today",
        {owner, now - kDay});
    if (rows.at(0).integer(0) >= quota.per_day)
      refuse("a day", quota.per_day, (rows.at(0).integer(1) + kDay - now) / 1'000'000 + 1);
  }
}

std::optional<store::Replay> Creations::create(const store::Debate& debate, const Key& key, const audit::Entry& entry,
                                               const Quota& quota) {
  Job job{debate, key, entry, quota, {}, {}, false};
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
    takeTurns(connection, jobs);
    std::vector<audit::Entry> entries;
    for (auto* job : jobs) {
      job->replay = job->key ? store::Debates::takeKey(connection, *job->key, job->debate.created_at) : std::nullopt;
      if (job->replay) continue;
      requireRoom(connection, job->debate.owner, job->quota);
      for (auto& statement : debates_.creationOf(job->debate)) connection.later(std::move(statement));
      entries.push_back(job->entry);
    }
    audit::append(connection, keyring_, entries);
  });
}

}  // namespace aragora::debate
