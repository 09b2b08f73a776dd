#include "common/database/postgres/postgres_database.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"

namespace aragora::database::postgres {

namespace {
constexpr auto kRetryConnect = std::chrono::milliseconds(500);
constexpr int kSerialisationTries = 4;
constexpr auto kProbeTime = std::chrono::seconds(1);      // a look at the server, beside those who work
constexpr std::chrono::milliseconds kLeastConnect{1000};  // for whoever waited for a free connection before
constexpr double kAtOnce = 1;                             // seconds
}  // namespace

// One borrowed connection; goes back to the pool, or is closed when it broke.
class PostgresDatabase::Lease {
 public:
  explicit Lease(PostgresDatabase& pool) : Lease(pool, deadlineIn(pool.target_.acquire_timeout)) {}
  Lease(PostgresDatabase& pool, Deadline deadline) : pool_(pool) {
    std::unique_lock lock(pool_.mutex_);
    do {
      pool_.awaitRoom(lock, deadline);
    } while (!takeIdle() && !connectAnew(lock, deadline));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    const std::lock_guard lock(pool_.mutex_);
    if (connection_ && connection_->reusable() && !abandoned_)
      pool_.idle_.push_back(std::move(connection_));
    else
      --pool_.open_;
    pool_.line_.wakeFirst();
  }
  PostgresConnection& operator*() { return *connection_; }
  // It died while idle and said so at once: another one may be tried. What is silent until a deadline is no reason to
  // wait for each of them.
  bool mayTryAnother(const Error& error, int attempt) const {
    return error.code() == Code::Unreachable && reused_ && secondsSince(taken_at_) < kAtOnce &&
           attempt <= static_cast<int>(pool_.capacity());
  }
  // Not back to the pool.
  void abandon() { abandoned_ = true; }

 private:
  bool takeIdle() {
    while (!pool_.idle_.empty()) {
      connection_ = std::move(pool_.idle_.back());
      pool_.idle_.pop_back();
      if (connection_->looksAlive()) return reused_ = true;
      connection_.reset();
      --pool_.open_;
    }
    return false;
  }
  // False when there is none to be had, but others are open that will be returned: a server that lets us have fewer
  // than we may open is served with those.
  bool connectAnew(std::unique_lock<std::mutex>& lock, Deadline deadline) {
    if (pool_.failedLately()) return false;
    ++pool_.open_;
    lock.unlock();
    try {
      auto target = pool_.target_;
      target.connect_timeout = std::min(target.connect_timeout, std::max(remaining(deadline), kLeastConnect));
      connection_ = std::make_unique<PostgresConnection>(target, Company{&pool_.outlook_});
      return true;
    } catch (const Error& error) {
      lock.lock();
      --pool_.open_;
      pool_.line_.wakeFirst();
      if (error.code() == Code::Interrupted) throw;  // of ours: no failure of the database
      pool_.failed_at_ = std::chrono::steady_clock::now();
      pool_.failure_ = error.what();
      if (pool_.open_ == 0 || remaining(deadline).count() == 0) throw Failure(error);
      return false;
    }
  }

  PostgresDatabase& pool_;
  std::unique_ptr<PostgresConnection> connection_;
  std::chrono::steady_clock::time_point taken_at_ = std::chrono::steady_clock::now();
  bool reused_ = false;
  bool abandoned_ = false;
};

// Under the lock. Until there is a connection to be had, or one may be opened.
void PostgresDatabase::awaitRoom(std::unique_lock<std::mutex>& lock, Deadline deadline) {
  const auto mayOpen = [this] { return open_ < capacity() && !failedLately(); };
  WaitingLine::Place place(line_);
  const auto settled = [&] {
    return outlook_.away() || (place.first() && (!idle_.empty() || open_ == 0 || mayOpen()));
  };
  while (!settled()) {
    const auto until = open_ < capacity() ? std::min(deadline, failed_at_ + kRetryConnect) : deadline;
    place.wait(lock, interrupt::token(), until, settled);
    interrupt::check();
    if (!settled() && remaining(deadline).count() == 0)
      throw Error(Code::Overloaded, "no database connection became free in time",
                  "try again, or raise database.pool_size");
  }
  if (outlook_.away() || (idle_.empty() && !mayOpen())) throw Failure(Error(Code::Unreachable, failure_));
}

bool PostgresDatabase::failedLately() const { return std::chrono::steady_clock::now() - failed_at_ < kRetryConnect; }

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

namespace {
constexpr std::string_view kLook =
    "SELECT pg_is_in_recovery()::int, (current_setting('transaction_read_only') = 'on')::int";

std::string whyNoWrites(const Rows& rows) {
  if (rows.at(0).integer(0) != 0) return "the server is a standby";
  return rows.at(0).integer(1) != 0 ? "default_transaction_read_only is on" : "";
}

// Without what names a host or a role.
std::string reasonOf(const std::string& message) {
  for (const auto& [part, reason] : {std::pair{"too many", "it takes no more connections"},
                                     {"connection slots", "it takes no more connections"},
                                     {"left behind", "only a server is there that was left behind"},
                                     {"starting up", "it is starting"},
                                     {"shutting down", "it is being stopped"}}) {
    if (message.find(part) != std::string::npos) return reason;
  }
  return "no connection can be made";
}

// One of a list did not answer.
bool saysNothing(const Error& error) {
  const auto* details = error.details().if_object();
  const auto* silent = details != nullptr ? details->if_contains("silent") : nullptr;
  return silent != nullptr && *silent == true;
}

// Of a list of servers none that may be written to answers: libpq's own words.
bool noneTakesWrites(const std::string& message) {
  return message.find("session is read-only") != std::string::npos ||
         message.find("server is in hot standby mode") != std::string::npos;
}
}  // namespace

// On a connection of its own, one of those that the pool may have: that all others are taken says nothing about the
// server, and when it is silent they are not to wait for it.
void PostgresDatabase::ping() {
  const auto deadline = deadlineIn(kProbeTime);
  try {
    read_only_ = looked(deadline);
  } catch (const Error& error) {
    probe_.reset();
    if (error.code() == Code::Interrupted) throw;
    const bool silent = remaining(deadline).count() == 0 || saysNothing(error);
    if (silent && stillHeard()) return;  // busy, but there
    if (silent && own_probe_) giveUpWaiting();
    read_only_ = noneTakesWrites(error.what()) ? "no server that takes writes answers" : "";
    if (!read_only_.empty()) return;
    throw Failure(Error(Code::Unreachable, error.what())
                      .with(json::object{{"reason", silent ? "it does not answer" : reasonOf(error.what())}}));
  }
  const std::lock_guard lock(mutex_);
  outlook_.setAway(false);
  failed_at_ = {};
  if (!read_only_.empty()) dropIdle();  // of several hosts another may be the primary by now
}

std::string PostgresDatabase::looked(Deadline deadline) {
  while (own_probe_) {
    const bool kept = probe_ != nullptr;
    try {
      if (!kept) probe_ = connectionToLook(deadline);
    } catch (const Error& error) {
      if (error.code() == Code::Interrupted || saysNothing(error)) throw;
      break;  // there may be no room for another one: those that are open are a way to look, too
    }
    try {
      probe_->endBy(deadline);
      auto found = whyNoWrites(probe_->queryUntil(deadline, kLook));
      if (!found.empty()) probe_.reset();
      return found;
    } catch (const Error& error) {
      probe_.reset();
      if (!kept || remaining(deadline).count() == 0 || error.code() == Code::Interrupted) throw;
    }
  }
  Lease lease(*this, deadline);
  auto found = whyNoWrites((*lease).queryUntil(deadline, kLook));
  if (!found.empty()) lease.abandon();
  return found;
}

std::unique_ptr<PostgresConnection> PostgresDatabase::connectionToLook(Deadline deadline) {
  auto target = target_;
  target.connect_timeout = target.statement_timeout = remaining(deadline);
  return std::make_unique<PostgresConnection>(target, Company{&outlook_, Role::Looks});
}

// Whether anybody hears anything of it until it was silent for as long as a look may take.
bool PostgresDatabase::stillHeard() const {
  const auto last = outlook_.lastHeard();
  if (const auto left = remaining(last + kProbeTime); left.count() > 0) {
    const auto stopping = interrupt::minded();
    if (stopping) stopping->waitFor(left);
    if (!stopping) std::this_thread::sleep_for(left);
  }
  return outlook_.lastHeard() > last;
}

// It says nothing to anybody: whoever waits for it is told so, and what comes is, until a look finds it back.
void PostgresDatabase::giveUpWaiting() {
  const std::lock_guard lock(mutex_);
  failure_ = "PostgreSQL " + describeUrl(target_.url) + " does not answer";
  outlook_.setAway(true);
  dropIdle();
  line_.wakeAll();
}

void PostgresDatabase::dropIdle() {
  open_ -= idle_.size();
  idle_.clear();
}

std::string PostgresDatabase::whyReadOnly() { return read_only_; }

std::string PostgresDatabase::version() { return "PostgreSQL " + query("SHOW server_version", {})[0].text(0); }

Database::PoolState PostgresDatabase::pool() const {
  const std::lock_guard lock(mutex_);
  return {target_.pool_size, capacity() - open_ + idle_.size()};
}

}  // namespace aragora::database::postgres
