#include "daemon/lifecycle/audit_watch.h"

#include <pthread.h>

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
    if (instance_.empty()) {
      instance_ = database_.reading([](database::Connection& connection) {
        return store::readSetting(connection, store::kInstanceId).value_or("");
      });
    }
    if (broken_) reconsider();
    if (!asked_) askWitnesses();
    if (!asked_elsewhere_) askElsewhere();
    audit::Head now;
    database_.read([&](database::Connection& connection) {
      compare(connection);
      now = audit::head(connection);
    });
    notes_ = {};
    if (now.hash != noted_.hash && !broken_ && !instance_.empty()) {
      backup::noteAuditHead(options_.state_directory, now, instance_, keyring_);
      noted_ = now;
      noted_at_ = nowMicros();
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

void AuditWatch::askWitnesses() {
  auto notes = backup::stateNotes(options_.state_directory, instance_, keyring_);
  // Kept as evidence by whoever writes in its place.
  for (const auto& one : notes.forged) log::error("{}; see: aragora audit verify", one);
  if (!notes.forged.empty()) broken_ = true;
  take(std::move(notes));
  take(backup::manifestNotes(options_.backups, instance_, keyring_));
  asked_ = true;
}

// Said once while it is away, and asked again with each look.
void AuditWatch::askElsewhere() {
  constexpr auto kPatience = std::chrono::seconds(10);
  if (!options_.elsewhere || instance_.empty()) return;
  auto notes = backup::manifestNotes(*options_.elsewhere, instance_, keyring_, kPatience);
  asked_elsewhere_ = notes.unread.empty();
  if (!asked_elsewhere_ && std::exchange(away_, true)) notes.unread.clear();
  take(std::move(notes));
}

void AuditWatch::take(backup::AuditNotes notes) {
  for (const auto& one : notes.unread) log::warning("the audit log could not be compared with {}", one);
  notes_.add(std::move(notes));
}

void AuditWatch::compare(database::Connection& connection) {
  auto witnesses = notes_.witnesses;
  if (!noted_.hash.empty()) witnesses.push_back({"the note of this daemon", noted_at_, noted_});
  accepted_at_ = std::max(accepted_at_, notes_.accepted_at);
  auto said = audit::contradiction(connection, witnesses, accepted_at_);
  if (said) {  // unless the database was restored beside us
    accepted_at_ =
        std::max(accepted_at_, backup::stateNotes(options_.state_directory, instance_, keyring_).accepted_at);
    said = audit::contradiction(connection, witnesses, accepted_at_);
  }
  if (!said || broken_) return;
  broken_ = true;
  log::tell(log::Event::AuditLogBroken, log::Level::Error,
            "the audit log was cut or replaced: {}; see: aragora audit verify", *said);
}

// Somebody may have looked at it meanwhile: `aragora audit accept`.
void AuditWatch::reconsider() {
  const auto notes = backup::stateNotes(options_.state_directory, instance_, keyring_);
  if (!notes.forged.empty() || notes.accepted_at <= accepted_at_) return;
  accepted_at_ = notes.accepted_at;
  broken_ = false;
  log::info("what was held against the audit log is accepted; its end is noted again");
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
