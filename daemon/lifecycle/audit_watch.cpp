#include "daemon/lifecycle/audit_watch.h"

#include <pthread.h>

#include "common/backup/audit_notes.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/store/settings.h"

namespace aragora::lifecycle {

namespace {
constexpr auto kJournalEvery = std::chrono::minutes(5);
constexpr std::int64_t kJournalEntries = 1000;
}  // namespace

AuditWatch::AuditWatch(AuditWatchOptions options, database::Database& database, const crypto::Keyring& keyring)
    : options_(std::move(options)), database_(database), keyring_(keyring) {}

void AuditWatch::start() {
  thread_ = std::jthread([this] { watch(); });
}

void AuditWatch::stop() {
  stopping_.turn();
  if (thread_.joinable()) thread_.join();
}

void AuditWatch::watch() {
  ::pthread_setname_np(::pthread_self(), "audit");
  const interrupt::Minding minding(stopping_);
  do look();
  while (!stopping_.waitFor(options_.interval));
}

// The thread's catch-all: what fails is tried again with the next look. Nothing is written down before it was compared
// with what stood there, or a log that was cut meanwhile would be taken for all there was.
void AuditWatch::look() {
  try {
    audit::Head now;
    database_.read([&](database::Connection& connection) {
      if (!compared_) compare(connection);
      now = audit::head(connection);
    });
    compared_ = true;
    if (now.hash != noted_.hash && !broken_ && !instance_.empty()) {
      backup::noteAuditHead(options_.state_directory, now, instance_, keyring_);
      noted_ = now;
    }
    sayInJournal(now);
    if (std::exchange(failing_, false)) log::info("the end of the audit log is noted again");
  } catch (const database::Failure& error) {  // which readiness tells of
    log::debug("the end of the audit log is not noted: {}", error.what());
  } catch (const std::exception& error) {
    if (stopping_.turned() || std::exchange(failing_, true)) return;
    log::warning("the end of the audit log is not noted: {}", error.what());
  }
}

// With what the state directory says alone: the backups are compared by `aragora verify`.
void AuditWatch::compare(database::Connection& connection) {
  instance_ = store::readSetting(connection, store::kInstanceId).value_or("");
  const auto notes = backup::stateNotes(options_.state_directory, instance_, keyring_);
  for (const auto& one : notes.unread) log::warning("the end of the audit log is not compared with: {}", one);
  if (const auto said = audit::contradiction(connection, notes.witnesses, notes.restored_at)) {
    broken_ = true;
    log::error("the audit log was cut or replaced: {}; see: aragora verify", *said);
  }
}

void AuditWatch::sayInJournal(const audit::Head& now) {
  const auto at = std::chrono::steady_clock::now();
  const bool due = at - journalled_at_ >= kJournalEvery || now.entries - journalled_.entries >= kJournalEntries;
  if (now.hash == journalled_.hash || !due) return;
  log::info("audit log: {}, head {}", counted(now.entries, "entry"), now.hash);
  journalled_ = now;
  journalled_at_ = at;
}

}  // namespace aragora::lifecycle
