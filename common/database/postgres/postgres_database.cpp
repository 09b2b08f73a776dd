#include "common/database/postgres/postgres_database.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"

namespace aragora::database::postgres {

namespace {
constexpr auto kRetryConnect = std::chrono::milliseconds(500);
constexpr int kSerialisationTries = 4;
constexpr auto kProbeTime = std::chrono::seconds(2);  // a look at the server, beside those who work
constexpr double kAtOnce = 1;                         // seconds
}  // namespace

// One borrowed connection; goes back to the pool, or is closed when it broke.
class PostgresDatabase::Lease {
 public:
  explicit Lease(PostgresDatabase& pool) : pool_(pool) {
    std::unique_lock lock(pool_.mutex_);
    if (!pool_.returned_.wait_for(lock, interrupt::token(), pool_.target_.acquire_timeout,
                                  [&] { return !pool_.idle_.empty() || pool_.open_ < pool_.target_.pool_size; })) {
      interrupt::check();
      throw Error(Code::Overloaded, "no database connection became free in time",
                  "try again, or raise database.pool_size");
    }
    while (!pool_.idle_.empty()) {
      connection_ = std::move(pool_.idle_.back());
      pool_.idle_.pop_back();
      if (connection_->looksAlive()) {
        reused_ = true;
        return;
      }
      connection_.reset();
      --pool_.open_;
    }
    if (std::chrono::steady_clock::now() - pool_.failed_at_ < kRetryConnect)
      throw Failure(Error(Code::Unreachable, pool_.failure_));
    ++pool_.open_;
    lock.unlock();
    try {
      connection_ = std::make_unique<PostgresConnection>(pool_.target_);
    } catch (const Error& error) {
      lock.lock();
      --pool_.open_;
      pool_.returned_.notify_one();
      if (error.code() == Code::Interrupted) throw;  // of ours: no failure of the database
      pool_.failed_at_ = std::chrono::steady_clock::now();
      pool_.failure_ = error.what();
      throw Failure(error);
    }
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    {
      const std::lock_guard lock(pool_.mutex_);
      if (connection_ && connection_->reusable() && !abandoned_)
        pool_.idle_.push_back(std::move(connection_));
      else
        --pool_.open_;
    }
    pool_.returned_.notify_one();
  }
  PostgresConnection& operator*() { return *connection_; }
  // It died while idle and said so at once: another one may be tried. What is silent until a deadline is no reason to
  // wait for each of them.
  bool mayTryAnother(const Error& error, int attempt) const {
    return error.code() == Code::Unreachable && reused_ && secondsSince(taken_at_) < kAtOnce &&
           attempt <= static_cast<int>(pool_.target_.pool_size);
  }
  // Not back to the pool.
  void abandon() { abandoned_ = true; }

 private:
  PostgresDatabase& pool_;
  std::unique_ptr<PostgresConnection> connection_;
  std::chrono::steady_clock::time_point taken_at_ = std::chrono::steady_clock::now();
  bool reused_ = false;
  bool abandoned_ = false;
};

namespace {
// To those who ask us it is a server that is away: the primary comes back, or is another one by the next connection.
Failure awayFor(const Error& error) { return Failure(Error(Code::Unreachable, error.what(), error.hint())); }
}  // namespace

void PostgresDatabase::run(const Work& work, std::string_view begin) {
  for (int attempt = 1;; ++attempt) {
    try {
      Lease lease(*this);
      std::optional<Transaction> transaction;
      try {
        transaction.emplace(*lease, begin, Transaction::Begins::WithFirstStatement);
        work(*lease);
        transaction->commit();
      } catch (const Error& error) {
        if ((*lease).nothingDone() && lease.mayTryAnother(error, attempt)) continue;  // nothing has happened yet
        if (!isReadOnly(error)) throw;
        lease.abandon();
        throw awayFor(error);
      }
      return;
    } catch (const Error& error) {
      if (error.code() != Code::Busy || attempt >= kSerialisationTries) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(5 * attempt * attempt));
    }
  }
}

void PostgresDatabase::read(const Work& work) {
  noticing([&] { run(work, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); });
}

void PostgresDatabase::write(const Work& work) {
  noticing([&] { run(work, "BEGIN ISOLATION LEVEL READ COMMITTED"); });
}

Rows PostgresDatabase::query(std::string_view sql, const Values& values) {
  return noticing([&] { return ask(sql, values, target_.statement_timeout); });
}

// A statement alone is its own transaction.
Rows PostgresDatabase::ask(std::string_view sql, const Values& values, std::chrono::milliseconds patience) {
  for (int attempt = 1;; ++attempt) {
    Lease lease(*this);
    try {
      return (*lease).queryUntil(deadlineIn(patience), sql, values);
    } catch (const Error& error) {
      if (!lease.mayTryAnother(error, attempt)) throw;
    }
  }
}

void PostgresDatabase::ping() { ask("SELECT 1", {}, kProbeTime); }

std::string PostgresDatabase::whyReadOnly() {
  Lease lease(*this);
  const auto row =
      (*lease).queryUntil(deadlineIn(kProbeTime),
                          "SELECT pg_is_in_recovery()::int, (current_setting('transaction_read_only') = 'on')::int")[0];
  if (row.integer(0) == 0 && row.integer(1) == 0) return {};
  lease.abandon();  // of several hosts another may be the primary by now
  return row.integer(0) != 0 ? "the server is a standby" : "default_transaction_read_only is on";
}

std::string PostgresDatabase::version() { return "PostgreSQL " + query("SHOW server_version", {})[0].text(0); }

Database::PoolState PostgresDatabase::pool() const {
  const std::lock_guard lock(mutex_);
  return {target_.pool_size, target_.pool_size - open_ + idle_.size()};
}

}  // namespace aragora::database::postgres
