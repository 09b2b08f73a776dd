#include "common/backup/continuous.h"

#include <thread>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
class Continuous {
 public:
  Continuous(const ContinuousOptions& options, const std::atomic<bool>& stop) : options_(options), stop_(stop) {}

  void run() {
    while (true) {
      const bool last = stop_;
      const auto began = std::chrono::steady_clock::now();
      try {
        saveWhatIsDue(last);
      } catch (const std::exception& error) {  // the loop's boundary: said, and tried again
        writer_.reset();
        if (options_.on_failure) options_.on_failure(error.what());
      }
      if (last) return;
      while (!stop_ && std::chrono::steady_clock::now() - began < options_.interval) {
        if (options_.on_alive) options_.on_alive();
        std::this_thread::sleep_for(
            std::min<std::chrono::milliseconds>(options_.interval, std::chrono::milliseconds(200)));
      }
    }
  }

 private:
  // On the way out only an increment: a full backup can take longer than whoever stops us waits.
  void saveWhatIsDue(bool stopping) {
    if (fullIsDue() && !stopping) {
      const auto entry = createBackup(options_.create);
      say(fmt::format("full backup {} ({})", entry.id, humanBytes(entry.manifest->storedSize())));
      writer_.reset();
      return;
    }
    if (options_.create.target.engine != database::Engine::Sqlite || newest_.empty()) return;
    // One writer a repository; an increment belongs to the newest full backup.
    const auto lock = Repository(options_.create.directory).lock();
    if (!writer_ || writer_->full().id != newest_)
      writer_ = std::make_unique<IncrementWriter>(newestFull(), *options_.create.keyring, sealing());
    if (const auto increment = writer_->write(options_.create.target.path))
      say(fmt::format("increment {} of {}: {} pages, {}", increment->number, newest_, increment->changed,
                      humanBytes(increment->file.stored_size)));
  }

  bool fullIsDue() {
    const auto entries = Repository(options_.create.directory).list();
    newest_.clear();
    Micros at = 0;
    for (const auto& entry : entries) {
      if (!entry.good()) continue;
      newest_ = entry.id;
      at = entry.manifest->finished_at;
    }
    return newest_.empty() || nowMicros() - at >= std::chrono::microseconds(options_.full_every).count();
  }

  Entry newestFull() const {
    auto entry = Repository(options_.create.directory).resolve(newest_);
    Repository::requireAuthentic(entry, *options_.create.keyring);
    return entry;
  }

  ArtifactOptions sealing() const {
    ArtifactOptions how;
    how.recipients = {options_.create.keyring->backupIdentity().recipient};
    for (const auto& recipient : options_.create.extra_recipients)
      how.recipients.push_back(crypto::parseAgeRecipient(recipient));
    how.compression_level = options_.create.compression_level;
    how.max_rate = options_.create.max_rate;
    return how;
  }

  void say(const std::string& message) const {
    if (options_.on_message) options_.on_message(message);
  }

  const ContinuousOptions& options_;
  const std::atomic<bool>& stop_;
  std::string newest_;
  std::unique_ptr<IncrementWriter> writer_;
};
}  // namespace

void runContinuously(const ContinuousOptions& options, const std::atomic<bool>& stop) {
  Continuous(options, stop).run();
}

}  // namespace aragora::backup
