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
  compare();
  do look();
  while (!stopping_.waitFor(options_.interval));
}

// What the state directory says alone: the backups are compared by `aragora verify`.
void AuditWatch::compare() {
  try {
    database_.read([&](database::Connection& connection) {
      instance_ = store::readSetting(connection, store::kInstanceId).value_or("");
      const auto notes = backup::stateNotes(options_.state_directory, instance_, keyring_);
      for (const auto& one : notes.unread) log::warning("the end of the audit log is not compared with: {}", one);
      if (const auto said = audit::contradiction(connection, notes.witnesses, notes.restored_at)) {
        broken_ = true;
        log::error("the audit log was cut or replaced: {}; see: aragora verify", *said);
      }
    });
  } catch (const std::exception& error) {
    log::debug("the audit log was not compared: {}", error.what());
  }
}

// The thread's catch-all: what fails is tried again with the next look.
void AuditWatch::look() {
  try {
    audit::Head now;
    database_.read([&](database::Connection& connection) {
      now = audit::head(connection);
      if (instance_.empty()) instance_ = store::readSetting(connection, store::kInstanceId).value_or("");
    });
    // A log that was cut must not be written down as what there was.
    if (now.hash != noted_.hash && !broken_ && !instance_.empty()) {
      backup::noteAuditHead(options_.state_directory, now, instance_, keyring_);
      noted_ = now;
    }
    const auto at = std::chrono::steady_clock::now();
    const bool due = at - journalled_at_ >= kJournalEvery || now.entries - journalled_.entries >= kJournalEntries;
    if (now.hash == journalled_.hash || !due) return;
    log::info("audit log: {}, head {}", counted(now.entries, "entry"), now.hash);
    journalled_ = now;
    journalled_at_ = at;
  } catch (const std::exception& error) {
    log::debug("the end of the audit log was not noted: {}", error.what());
  }
}

}  // namespace aragora::lifecycle
