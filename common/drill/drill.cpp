#include "common/drill/drill.h"

#include <unistd.h>

#include <random>

#include "common/accounts/accounts.h"
#include "common/backup/artifact.h"
#include "common/backup/landing.h"
#include "common/backup/ledger.h"
#include "common/backup/physical/private_cluster.h"
#include "common/backup/physical/recover.h"
#include "common/backup/physical/recovery_plan.h"
#include "common/backup/shrinkage.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/drill/instance.h"
#include "common/verify/verify.h"

namespace aragora::drill {

using database::Engine;

namespace {
constexpr auto kReadyTime = std::chrono::seconds(60);
constexpr auto kSmokeTime = std::chrono::seconds(60);
constexpr std::size_t kSteps = 8;

std::string hostName() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

class Drill {
 public:
  explicit Drill(const Options& options) : options_(options) {
    evidence_.started_at = nowMicros();
    evidence_.id = fmt::format("{}-{}", toCompactIso(evidence_.started_at), newUlid());
    evidence_.host = hostName();
    evidence_.tool_version = options.tool_version;
    evidence_.engine = options.live.engine;
    evidence_.way = options.way;
    evidence_.rto_objective = options.rto;
    evidence_.rpo_objective = options.rpo;
  }

  Evidence run() {
    step("choose a backup", [this] { return choose(); });
    step("stored files hold", [this] { return checkFiles(); });
    restore_began_ = std::chrono::steady_clock::now();
    const bool restored = step("restore into scratch", [this] { return physical() ? recover() : land(); });
    const bool verified = step("verify what was restored", [this] { return verify(); });
    const bool sessions = step("sessions and preferences", [this] { return checkSessions(); });
    const bool ready = step("start a daemon on it", [this] { return startDaemon(); });
    if (ready) {
      evidence_.recovered = true;
      evidence_.rto_seconds = secondsSince(restore_began_) - aside_;
      evidence_.rpo_seconds = std::max<double>(0, static_cast<double>(evidence_.started_at - newest_) / 1e6);
    }
    const bool session = step("session", [this] { return trySession(); });
    const bool smoke =
        step("smoke test", [this] { return instance_->visitor().smokeTest(debates_, deadlineIn(kSmokeTime)); });
    ARAGORA_CHECK(evidence_.steps.size() == kSteps);
    tidyUp();
    evidence_.boxes = {
        {"Restore database from backup to test environment", restored},
        {"Verify debate history intact" + numbers(), verified && !evidence_.history_lost},
        {"Verify user sessions and preferences", sessions && session},
        {"Run smoke tests on restored instance", smoke},
        {fmt::format("Document restoration time (target: <{})", humanDuration(options_.rto)), evidence_.rtoMet()}};
    return std::move(evidence_);
  }

 private:
  // After a failure the later steps are recorded as not run.
  template <typename Function>
  bool step(const std::string& name, Function&& function) {
    Step step{name, Step::Outcome::NotRun, 0, "an earlier step failed"};
    if (!failed_) {
      interrupt::check();
      within(options_.progress, fmt::format("step {} of {}, {}", evidence_.steps.size() + 1, kSteps, name));
      const auto began = std::chrono::steady_clock::now();
      try {
        step.detail = function();
        step.outcome = Step::Outcome::Done;
      } catch (const std::exception& error) {  // the drill's boundary: whatever it is becomes evidence
        interrupt::check();                    // no evidence: nothing was found out
        step.detail = error.what();
        step.outcome = Step::Outcome::Failed;
        failed_ = true;
      }
      step.seconds = secondsSince(began);
    }
    evidence_.steps.push_back(step);
    return step.outcome == Step::Outcome::Done;
  }

  std::string choose() {
    const backup::Repository repository(options_.directory, options_.keyring, kindFor(options_.way));
    auto entries = repository.list();
    const auto told = backup::toldHeads(options_.live, options_.directory, *options_.keyring);
    const auto findings = backup::compareWithLedger(options_.directory, repository.kind(), entries, *options_.keyring,
                                                    told.of(repository.kind()));
    if (!options_.backup) backup::requireNewest(findings);
    std::erase_if(entries, [&](const backup::Entry& entry) {
      return !entry.good() || (options_.backup && entry.id != *options_.backup);
    });
    if (entries.empty())
      throw Error(Code::NoInput, options_.backup
                                     ? fmt::format("there is no good backup {}", printable(*options_.backup, 80))
                                     : fmt::format("there is no good {} backup in {}", name(evidence_.way),
                                                   options_.directory.describe()));
    std::random_device random;
    if (physical() && !options_.backup) entries = leadingToTheEnd();
    entry_ = options_.random ? entries[random() % entries.size()] : entries.back();
    backup::Repository::requireAuthentic(entry_, *options_.keyring);
    evidence_.backup = entry_.id;
    evidence_.place = options_.directory.describe();
    evidence_.backup_bytes = entry_.manifest->storedSize();
    newest_ = entry_.manifest->started_at;
    return fmt::format("{}, made {}{}", entry_.id, toIso(entry_.manifest->finished_at),
                       told.failure.empty() ? "" : "; WARNING: " + told.failure);
  }

  // Base backups that a recovery of everything can begin with, the best one last: one that was made on a timeline which
  // was left before it is none, however new.
  std::vector<backup::Entry> leadingToTheEnd() const {
    backup::PlanOptions what;
    what.directory = options_.directory;
    what.keyring = options_.keyring;
    what.live = &options_.live;
    auto bases = backup::planRecovery(what).bases;
    std::reverse(bases.begin(), bases.end());
    return bases;
  }

  std::string checkFiles() {
    backup::checkStored(entry_.directory, *entry_.manifest, options_.progress);
    return fmt::format("signature and digests of {}", counted(entry_.manifest->files.size(), "file"));
  }

  std::string land() {
    backup::Comparison comparison;
    const auto began = std::chrono::steady_clock::now();
    database_ = options_.live;
    if (options_.live.engine == Engine::Sqlite) {
      database_.path = scratch_.path() / "aragora.db";
      const auto increments = backup::incrementsOf(entry_, *options_.keyring);
      if (!increments.empty()) newest_ = increments.back().at;
      for (const auto& increment : increments) evidence_.log_bytes += increment.file.stored_size;
      comparison = backup::landSqlite(entry_, *options_.keyring, database_.path, increments, options_.progress);
    } else {
      scratch_database_ = std::make_unique<backup::ScratchDatabase>(options_.live, "aragora_drill_" + lower(newUlid()),
                                                                    backup::propertiesOf(entry_, *options_.keyring));
      database_ = scratch_database_->target();
      comparison =
          backup::landPostgres(entry_, *options_.keyring, database_, backup::Ownership::OfTheLoader, options_.progress);
    }
    evidence_.unpack_seconds = secondsSince(began);
    auto done = fmt::format("{}, {} as recorded", counted(comparison.tables, "table"), counted(comparison.rows, "row"));
    if (!comparison.skipped.empty())
      done += fmt::format("; left out, the data is complete: {}", join(comparison.skipped, "; "));
    return done;
  }

  std::string recover() {
    backup::RecoverOptions how;
    how.directory = options_.directory;
    how.live = options_.live;
    how.keyring = options_.keyring;
    how.base = entry_.id;
    how.to = scratch_.path() / "cluster";
    how.progress = options_.progress;
    backup::giveToServerUser(scratch_.path(), false);
    const auto report = backup::recoverCluster(how);
    cluster_ = std::make_unique<backup::PrivateCluster>(how.to, std::map<std::string, std::string>{});
    cluster_->waitUntilPromoted(deadlineIn(kReadyTime));
    database_ = cluster_->target(options_.live);
    evidence_.unpack_seconds = report.unpack_seconds;
    evidence_.replay_seconds = report.replay_seconds;
    evidence_.log_bytes = report.log_bytes;
    evidence_.timeline = report.timeline;
    evidence_.reached = report.reached;
    newest_ = std::max({newest_, report.last_commit.value_or(0), report.covered.value_or(0)});
    return fmt::format("unpacked in {}, {} of log in {}, through position {}{}", humanDuration(report.unpack_seconds),
                       counted(report.log_files, "file"), humanDuration(report.replay_seconds),
                       backup::formatLsn(report.reached),
                       report.promised ? fmt::format(" (confirmed: {})", backup::formatLsn(*report.promised)) : "");
  }

  // Looking closely is no part of getting back to work.
  std::string verify() {
    const auto began = std::chrono::steady_clock::now();
    verify::Options how;
    how.keyring = options_.keyring;
    how.expected_version = entry_.manifest->migration_version;
    how.progress = options_.progress;
    const auto report = verify::verifyDatabase(database_, how);
    std::vector<std::string> messages;
    for (const auto& finding : report.findings) {
      if (finding.outcome == verify::Outcome::NotVerified || &finding == report.againstRestored())
        throw Error(Code::Damaged, fmt::format("{}: {}", finding.id, finding.message));
      const bool holds = finding.outcome == verify::Outcome::Ok;
      messages.push_back(fmt::format("{}{}: {}", holds ? "" : "WARNING: ", finding.id, finding.message));
    }
    const auto connection = database::connect(database_);
    debates_ = connection->query("SELECT count(*) FROM debates", {})[0].integer(0);
    compareWithBackupsBefore(*connection);
    for (const auto& warning : evidence_.warnings) messages.push_back("WARNING: " + warning);
    aside_ += secondsSince(began);
    return join(messages, "; ");
  }

  // An emptied source verifies as well as a full one.
  void compareWithBackupsBefore(database::Connection& connection) {
    auto fulls = backup::Repository(options_.directory, options_.keyring).list();
    if (!physical()) {  // the backup itself counts: increments may have emptied it
      const auto at = std::find_if(fulls.begin(), fulls.end(), [&](const auto& full) { return full.id == entry_.id; });
      if (at != fulls.end()) fulls.erase(std::next(at), fulls.end());
    }
    backup::Counts counted;
    for (const auto* table : {"debates", "debate_events", "users"})
      counted[table] = connection.query(fmt::format("SELECT count(*) FROM {}", table), {})[0].integer(0);
    for (const auto& shrunk : backup::shrinkage(fulls, counted)) {
      evidence_.warnings.push_back(backup::describe(shrunk));
      evidence_.history_lost |= shrunk.vanished() && shrunk.ofTheHistory();
    }
  }

  // Behind the box that they speak against.
  std::string numbers() const {
    return evidence_.warnings.empty() ? std::string() : fmt::format(" (WARNING: {})", join(evidence_.warnings, "; "));
  }

  std::string checkSessions() {
    const auto began = std::chrono::steady_clock::now();
    const auto connection = database::connect(database_);
    std::vector<std::string> counts;
    for (const auto* table : {"users", "sessions", "settings"})
      counts.push_back(fmt::format(
          "{} {}", connection->query(fmt::format("SELECT count(*) FROM {}", table), {})[0].integer(0), table));
    if (const auto* record = entry_.manifest->file(backup::content::kSessions); record != nullptr) {
      std::int64_t lines = 0;
      backup::readArtifact(entry_.directory, *record, options_.keyring->backupIdentities(),
                           [&](std::string_view bytes) { lines += std::count(bytes.begin(), bytes.end(), '\n'); });
      counts.push_back(fmt::format("{} of Redis readable", counted(lines, "session")));
    }
    aside_ += secondsSince(began);
    return join(counts, ", ");
  }

  std::string startDaemon() {
    instance_ = std::make_unique<Instance>(database_, options_.encryption_key, scratch_.path());
    instance_->waitUntilReady(deadlineIn(kReadyTime));
    return "it is ready";
  }

  // Somebody who is only in scratch.
  std::string trySession() {
    const auto email = fmt::format("drill-{}@scratch.invalid", lower(newUlid()));
    const auto password = accounts::randomPassword();
    const auto database = database::openDatabase(database_);
    accounts::Accounts(*database, *options_.keyring).add(email, "", accounts::Role::Member, password, "drill");
    return instance_->visitor().sessionTest(email, password);
  }

  bool physical() const { return options_.way == Way::Physical; }

  void tidyUp() {
    instance_.reset();
    scratch_database_.reset();
    cluster_.reset();
  }

  const Options& options_;
  Evidence evidence_;
  bool failed_ = false;
  backup::Entry entry_;
  TemporaryDirectory scratch_{options_.scratch.empty() ? scratchDirectory() : options_.scratch};
  database::Target database_;
  std::unique_ptr<backup::ScratchDatabase> scratch_database_;
  std::unique_ptr<backup::PrivateCluster> cluster_;
  std::unique_ptr<Instance> instance_;
  std::chrono::steady_clock::time_point restore_began_;
  double aside_ = 0;  // seconds between that were not recovery
  std::int64_t debates_ = 0;
  Micros newest_ = 0;
};
}  // namespace

bool Evidence::passed() const {
  return rtoMet() && rpoMet() && !history_lost && !steps.empty() &&
         std::all_of(steps.begin(), steps.end(), [](const Step& step) { return step.outcome == Step::Outcome::Done; });
}

Evidence runDrill(const Options& options) { return Drill(options).run(); }

}  // namespace aragora::drill
