#include "common/backup/continuous.h"

#include "common/backup/saving_note.h"
#include "common/base/error.h"
#include "common/base/periodic.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::chrono::seconds kLockWait{5};
constexpr std::chrono::milliseconds kAlive{500};

class Continuous {
 public:
  Continuous(const ContinuousOptions& options, const interrupt::Switch& stop)
      : options_(options), stop_(stop), note_(options.create.directory) {
    options_.create.lock_wait = std::min(options.interval, kLockWait);
    if (options.offsite) offsite_.emplace(options.create.directory, *options.offsite, *options.create.keyring);
  }

  void run() {
    std::optional<Periodic> copying;
    if (offsite_)
      copying.emplace(
          options_.interval, [this] { copyElsewhere(); }, [this](auto& why) { fail(why); }, options_.last_copy);
    while (true) {
      const bool last = stop_.turned();
      const auto began = std::chrono::steady_clock::now();
      try {
        saveWhatIsDue(last);
        tell({});
      } catch (const std::exception& error) {  // the loop's boundary: said, and tried again
        if (!stopped(error)) {
          writer_.reset();
          fail(error.what());
          tell(error.what());
        }
      }
      if (last) return;
      const auto next = began + options_.interval;
      while (!stop_.turned() && remaining(next).count() > 0) {
        if (options_.on_alive) options_.on_alive();
        stop_.waitFor(std::min(remaining(next), kAlive));
      }
    }
  }

 private:
  bool stopped(const std::exception& error) const {
    const auto* known = dynamic_cast<const Error*>(&error);
    if (!stop_.turned() || known == nullptr || known->code() != Code::Interrupted) return false;
    say("what was being made is given up, and made anew after the next start");
    return true;
  }

  // On the way out only an increment: a full backup can take longer than whoever stops us waits.
  void saveWhatIsDue(bool stopping) {
    if (!stopping) {
      const interrupt::Minding minding(stop_);
      if (begin_anew_) {
        auto how = options_.create;
        how.kind = Kind::Full;
        const auto full = createBackup(how);
        begin_anew_ = false;
        say(fmt::format("full backup {}: nothing could follow on the increments before it", full.id));
      }
      for (const auto& entry : createWhatIsDue(options_.create, options_.policy)) {
        say(fmt::format("{} backup {} ({})", name(entry.manifest->kind), entry.id,
                        humanBytes(entry.manifest->storedSize())));
        if (entry.manifest->kind == Kind::Full) writer_.reset();
      }
    }
    saveIncrement();
  }

  // In its own time: a store that does not answer must not keep an increment waiting.
  void copyElsewhere() {
    const auto copied = offsite_->copyBackups(options_.create.lock_wait);
    if (copied.backups > 0)
      say(fmt::format("{} ({}) copied to {}", counted(copied.backups, "backup"), humanBytes(copied.bytes),
                      offsite_->place().describe()));
    for (const auto& refused : copied.refused) fail("not copied elsewhere: " + refused);
  }

  void saveIncrement() {
    const auto newest = newestFull();
    if (options_.create.target.engine != database::Engine::Sqlite || !newest) return;
    // One writer a repository; an increment belongs to the newest full backup.
    const auto lock = Repository(options_.create.directory, options_.create.keyring).lock(options_.create.lock_wait);
    if (!writer_ || writer_->full().id != newest->id || !writer_->isNewest()) {
      Repository::requireAuthentic(*newest, *options_.create.keyring);
      try {
        writer_ = std::make_unique<IncrementWriter>(*newest, *options_.create.keyring, sealingOf(options_.create));
      } catch (const Error& error) {
        begin_anew_ = error.code() == Code::Damaged;  // nothing can follow on these; a full backup leads on
        throw;
      }
    }
    if (const auto increment = writer_->write(options_.create.target.path))
      say(fmt::format("increment {} of {}: {}, {}", increment->number, newest->id, counted(increment->changed, "page"),
                      humanBytes(increment->file.stored_size)));
    noteWhatIsSaved();
  }

  // The files are looked at first: what the writer does not know of then, they do not hold either.
  void noteWhatIsSaved() {
    const auto now = nowMicros();
    const auto files = lookAtDatabaseFiles(options_.create.target.path);
    status_.full = writer_->full().id;
    status_.increment = writer_->newest();
    if (!files || !writer_->nothingNew(options_.create.target.path)) return;  // the next round says it
    status_.saved_through = now;
    status_.seen = *files;
  }

  void tell(const std::string& problem) {
    status_.at = nowMicros();
    status_.interval_seconds = options_.interval.count();
    status_.problem = problem;
    status_.failures = problem.empty() ? 0 : status_.failures + 1;
    if (problem.empty()) status_.failing_since = 0;
    if (status_.failures == 1) status_.failing_since = status_.at;
    note_.write(status_);
  }

  std::optional<Entry> newestFull() const {
    std::optional<Entry> newest;
    for (auto& entry : Repository(options_.create.directory, options_.create.keyring).list()) {
      if (entry.good()) newest = std::move(entry);
    }
    return newest;
  }

  void say(const std::string& message) const {
    if (options_.on_message) options_.on_message(message);
  }

  void fail(const std::string& reason) const {
    if (options_.on_failure) options_.on_failure(reason);
  }

  ContinuousOptions options_;
  const interrupt::Switch stop_;
  std::optional<OffsiteCopy> offsite_;
  std::unique_ptr<IncrementWriter> writer_;
  bool begin_anew_ = false;  // the increments that there are do not hold
  SavingNote note_;
  SavingStatus status_;
};
}  // namespace

void runContinuously(const ContinuousOptions& options, const interrupt::Switch& stop) {
  Continuous(options, stop).run();
}

}  // namespace aragora::backup
