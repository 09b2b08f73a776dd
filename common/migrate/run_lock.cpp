#include "common/migrate/run_lock.h"

#include <random>
#include <thread>

#include "common/base/clock.h"
#include "common/base/error.h"

namespace aragora::migrate {

namespace {
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr std::int64_t kAdvisoryKey = 0x61726167'6f726101;  // "aragora" and a purpose byte
}  // namespace

std::chrono::milliseconds jitter(std::chrono::milliseconds base) {
  thread_local std::minstd_rand random(std::random_device{}());
  return base + std::chrono::milliseconds(random() % static_cast<unsigned>(base.count() + 1));
}

RunLock::RunLock(const database::Target& target, std::chrono::milliseconds wait,
                 const std::function<void(const std::string&)>& say) {
  if (target.engine == database::Engine::Sqlite) return;
  connection_ = database::connect(target);
  const auto deadline = deadlineIn(wait);
  bool told = false;
  while (!tryLock()) {
    if (!told) say(fmt::format("waiting for another migration run ({})", holder()));
    told = true;
    if (remaining(deadline).count() == 0) {
      throw Error(Code::Busy, fmt::format("another migration run holds the lock: {}", holder()),
                  "wait for it, or raise --lock-wait");
    }
    std::this_thread::sleep_for(jitter(kPoll));
  }
}

void RunLock::stillHeld() {
  if (connection_) connection_->query("SELECT 1", {});
}

// Each try is a transaction of its own. CREATE INDEX CONCURRENTLY waits for the whole transaction of whoever had a
// snapshot when it looked: a run that kept one open while it polls would be waited for by the run it waits for.
// READ COMMITTED whatever the server's default: the holder must be left without a snapshot.
bool RunLock::tryLock() {
  transaction_.emplace(*connection_, "BEGIN ISOLATION LEVEL READ COMMITTED");
  connection_->executeScript("SET LOCAL idle_in_transaction_session_timeout = 0");
  const auto sql = fmt::format("SELECT pg_try_advisory_xact_lock({})", kAdvisoryKey);
  if (connection_->query(sql, {})[0].text(0) == "t") return true;
  transaction_.reset();
  return false;
}

std::string RunLock::holder() {
  const auto rows = connection_->query(
      std::string("SELECT a.pid, a.application_name, extract(epoch FROM now() - a.xact_start)::bigint FROM pg_locks "
                  "l JOIN pg_stat_activity a USING (pid) "
                  "WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid() AND l.objid = ") +
          fmt::format("{}", static_cast<std::uint32_t>(kAdvisoryKey)),
      {});
  if (rows.empty()) return "it just finished";
  return fmt::format("backend {} ({}), for {} s", rows[0].text(0), rows[0].text(1), rows[0].text(2));
}

}  // namespace aragora::migrate
