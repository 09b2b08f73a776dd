// Tells people (common/notify) of what nobody else would: a backup that is late, a place of the backups that cannot be
// read, a certificate that ends, an audit log that was cut, a provider that fails. Looks again and again in a thread of
// its own, only where somebody is to be told; what it sees twice running counts. What was told is on the disk: a
// restart tells nothing twice.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "common/base/interrupt.h"
#include "common/config/loader.h"
#include "common/drill/recovery_state.h"
#include "common/notify/notifier.h"
#include "daemon/lifecycle/audit_watch.h"

namespace aragora::lifecycle {

// A provider that is not asked for now.
struct Outage {
  std::string provider;
  std::string why;
};

struct ProblemWatchOptions {
  notify::Options tell;
  drill::StateOptions recovery;
  config::Loaded loaded;
  bool makes_backups = false;  // this daemon, by itself: then it is the one who asks their dead-man switch
  std::chrono::milliseconds interval = std::chrono::minutes(1);
  std::function<std::vector<Outage>()> outages = nullptr;           // none: nobody knows of any
  std::function<std::vector<notify::Problem>()> budgets = nullptr;  // that are nearly used up
};

class ProblemWatch {
 public:
  ProblemWatch(ProblemWatchOptions options, const AuditWatch& audit);
  ~ProblemWatch() { stop(); }
  void start();
  void stop();
  // [notify] and where the certificate lies, with a look at once; what only a restart applies stays as it was. Any
  // thread.
  void reload(const config::Config& fresh);

 private:
  void watch();
  void takeReloaded();
  bool waitForTheNextLook();  // false: stopping
  bool isToLook() const;
  void look();
  std::vector<notify::Problem> problems();
  void pingSwitch(const std::vector<notify::Problem>& found);
  void addRecovery(std::vector<notify::Problem>& found);
  void addOutages(std::vector<notify::Problem>& found) const;
  void addCertificate(std::vector<notify::Problem>& found) const;
  void report(const std::vector<notify::Problem>& found);
  void settleOthers(const std::vector<notify::Problem>& found);
  void say(const std::vector<notify::Outcome>& outcomes, const std::string& what);

  ProblemWatchOptions options_;
  const AuditWatch& audit_;
  notify::Notifier notifier_;
  std::map<std::string, int, std::less<>> seen_;      // how often running
  std::map<std::string, int, std::less<>> missed_;    // of what was told
  std::chrono::steady_clock::time_point asked_at_{};  // the place elsewhere
  std::chrono::steady_clock::time_point pinged_at_{};
  bool ping_failed_ = false;  // told
  std::mutex mutex_;
  std::condition_variable_any came_;
  std::optional<config::Config> reloaded_;  // guarded by mutex_: not taken yet
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
