#include "daemon/lifecycle/problem_watch.h"

#include <pthread.h>

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/checks/check.h"
#include "common/crypto/certificate.h"
#include "common/drill/recovery_findings.h"
#include "common/systemd/service_manager.h"

namespace aragora::lifecycle {

namespace {
namespace key = config::key;
using notify::Kind;
using notify::Problem;

constexpr int kBelieved = 2;  // looks that agree
constexpr auto kElsewhereEvery = std::chrono::minutes(10);
constexpr std::chrono::seconds kDeadline{60};
constexpr auto kPingEvery = std::chrono::minutes(10);
constexpr std::int64_t kDaysLeft = 14;  // renewed 30 days before, it would have more

notify::Until within(std::chrono::milliseconds span, const interrupt::Switch& stopping) {
  return {deadlineIn(span), stopping.token()};
}

// Of what this watch finds, and nobody else.
bool ours(Kind kind) {
  return kind == Kind::Recovery || kind == Kind::Repository || kind == Kind::Certificate || kind == Kind::Audit ||
         kind == Kind::Provider || kind == Kind::Budget;
}
}  // namespace

ProblemWatch::ProblemWatch(ProblemWatchOptions options, const AuditWatch& audit)
    : options_(std::move(options)), audit_(audit), notifier_(options_.tell) {}

void ProblemWatch::start() {
  notifier_.giveUpStrays();
  thread_ = std::jthread([this] { watch(); });
}

void ProblemWatch::reload(const config::Config& fresh) {
  {
    const std::lock_guard lock(mutex_);
    reloaded_ = fresh;
  }
  came_.notify_one();
}

bool ProblemWatch::waitForTheNextLook() {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, stopping_.token(), options_.interval, [this] { return reloaded_.has_value(); });
  return !stopping_.turned();
}

void ProblemWatch::takeReloaded() {
  std::optional<config::Config> fresh;
  {
    const std::lock_guard lock(mutex_);
    fresh.swap(reloaded_);
  }
  if (!fresh) return;
  auto tell = notify::optionsOf(*fresh);
  tell.sender = options_.tell.sender;  // and where things are kept: a restart's
  tell.directory = options_.tell.directory;
  options_.tell = tell;
  options_.interval = std::chrono::seconds(fresh->integer(key::kNotifyInterval));
  // Whether TLS is spoken at all a restart decides.
  if (fresh->speaksTls() == options_.loaded.config.speaksTls()) options_.loaded.config = std::move(*fresh);
  notifier_ = notify::Notifier(std::move(tell));
  notifier_.giveUpStrays();
}

bool ProblemWatch::isToLook() const {
  return options_.tell.tellsPeople() || (options_.makes_backups && options_.tell.backup_ping);
}

void ProblemWatch::stop() {
  stopping_.turn();
  if (thread_.joinable()) thread_.join();
}

void ProblemWatch::watch() {
  ::pthread_setname_np(::pthread_self(), "problems");
  const interrupt::Minding minding(stopping_);
  bool first = true;
  do {
    // The thread's catch-all: what fails is tried again with the next look.
    try {
      takeReloaded();
      if (!isToLook()) continue;
      if (std::exchange(first, false)) {
        if (const auto unit = systemd::ownUnit(); !unit.empty())
          say(notifier_.settle("unit:" + unit, unit + " runs again", within(kDeadline, stopping_)), unit);
      }
      look();
    } catch (const std::exception& error) {
      if (!stopping_.turned()) log::warning("what is wrong could not be told: {}", error.what());
    }
  } while (waitForTheNextLook());
}

void ProblemWatch::look() {
  const auto found = problems();
  pingSwitch(found);
  report(found);
  settleOthers(found);
  say(notifier_.tellKept(within(kDeadline, stopping_)), "what was kept");
}

std::vector<Problem> ProblemWatch::problems() {
  std::vector<Problem> found;
  addRecovery(found);
  addCertificate(found);
  if (audit_.broken())
    found.push_back({"audit",
                     Kind::Audit,
                     "the audit log contradicts what was written down about it",
                     {"see: aragora audit verify"}});
  addOutages(found);
  if (options_.budgets) {
    for (auto& one : options_.budgets()) found.push_back(std::move(one));
  }
  return found;
}

// One that probes is not well yet: a problem lasts until the circuit is closed.
void ProblemWatch::addOutages(std::vector<Problem>& found) const {
  if (!options_.outages) return;
  for (const auto& outage : options_.outages())
    found.push_back({"provider:" + outage.provider,
                     Kind::Provider,
                     fmt::format("{} is not asked: {}", outage.provider, outage.why),
                     {"see: aragora providers --probe"}});
}

// What was found has looked at the backups as they lie there: a switch is told that they are well, never that the
// daemon is. Then silence, but for one word of the failure.
void ProblemWatch::pingSwitch(const std::vector<Problem>& found) {
  if (!options_.makes_backups || !options_.tell.backup_ping) return;
  const auto wrong = std::find_if(found.begin(), found.end(), [](const Problem& one) {
    return one.kind == Kind::Recovery || one.kind == Kind::Repository;
  });
  const auto now = std::chrono::steady_clock::now();
  const bool fails = wrong != found.end();
  if (fails ? ping_failed_ || seen_.count(wrong->key) == 0 : now - pinged_at_ < kPingEvery && !ping_failed_) return;
  const auto outcome =
      notify::ping(options_.tell, notify::Channel::BackupPing, fails ? notify::Ping::Fail : notify::Ping::Success,
                   fails ? wrong->summary : "the backups are as they should be", within(kDeadline, stopping_));
  if (!outcome.delivered) return say({outcome}, "the state of the backups");
  ping_failed_ = fails;
  pinged_at_ = now;
}

// A problem a subject, as `backup status` has them: worse when there is more of it.
void ProblemWatch::addRecovery(std::vector<Problem>& found) {
  auto& asked = options_.recovery;
  try {
    const auto now = std::chrono::steady_clock::now();
    if (now - asked_at_ >= kElsewhereEvery) asked.elsewhere.reset();
    if (!asked.elsewhere) asked_at_ = now;
    const auto state = drill::recoveryState(asked);
    asked.elsewhere = state.elsewhere;
    std::map<drill::Subject, Problem> by_subject;
    for (const auto& statement : drill::judge(state, asked.objectives)) {
      if (statement.level != drill::Level::Failure) continue;
      const auto subject = drill::name(statement.subject);
      auto [one, fresh] = by_subject.try_emplace(
          statement.subject, Problem{fmt::format("recovery:{}", subject), Kind::Recovery, statement.text, {}, 0});
      ++one->second.weight;
      if (!fresh) one->second.details.push_back(statement.text);
      if (!statement.hint.empty()) one->second.details.push_back("→ " + statement.hint);
    }
    for (auto& [subject, problem] : by_subject) {
      problem.details.emplace_back("see: aragora backup status");
      found.push_back(std::move(problem));
    }
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    found.push_back({"repository", Kind::Repository,
                     fmt::format("the backups in {} cannot be read: {}", asked.directory.string(), error.what()),
                     error.hint().empty() ? std::vector<std::string>{} : std::vector{"→ " + error.hint()}});
  }
}

// What is wrong with it says the check of validate-env; that it ends soon is worth a word earlier here.
void ProblemWatch::addCertificate(std::vector<Problem>& found) const {
  const auto& config = options_.loaded.config;
  if (!config.speaksTls()) return;
  std::vector<std::string> wrong;
  const auto report = checks::runChecks({.config = config, .offline = true}, {.only = {"certificate"}});
  for (const auto& finding : report.outcomes.front().findings) {
    if (finding.level == checks::Level::Failure)
      wrong.push_back(fmt::format("{}{}", finding.message, finding.hint.empty() ? "" : " → " + finding.hint));
  }
  if (wrong.empty()) {
    const auto left =
        crypto::inspectCertificate(config.text(key::kTlsCertificate), config.text(key::kTlsKey)).not_after -
        nowMicros();
    const auto days = left / (24LL * 3600 * 1'000'000);
    if (days < kDaysLeft)
      wrong.push_back(fmt::format("the certificate ends in {} and was not renewed", counted(days, "day")));
  }
  if (wrong.empty()) return;
  Problem problem{"certificate", Kind::Certificate, wrong.front(), {}, wrong.size()};
  problem.details.assign(wrong.begin() + 1, wrong.end());
  problem.details.push_back("file: " + config.text(key::kTlsCertificate));
  found.push_back(std::move(problem));
}

void ProblemWatch::report(const std::vector<Problem>& found) {
  std::map<std::string, int, std::less<>> seen;
  for (const auto& problem : found) {
    const auto before = seen_.find(problem.key);
    seen[problem.key] = before == seen_.end() ? 1 : before->second + 1;
    missed_.erase(problem.key);
    if (seen[problem.key] < kBelieved) continue;
    say(notifier_.report(problem, within(kDeadline, stopping_)), problem.summary);
  }
  seen_ = std::move(seen);
}

void ProblemWatch::settleOthers(const std::vector<Problem>& found) {
  for (const auto& known : notifier_.told().all()) {
    const auto& name = known.what.key;
    const bool lasts = std::any_of(found.begin(), found.end(), [&](const Problem& one) { return one.key == name; });
    if (lasts || !ours(known.what.kind) || ++missed_[name] < kBelieved) continue;
    missed_.erase(name);
    say(notifier_.settle(name, fmt::format("{} is well again", notify::title(known.what.kind)),
                         within(kDeadline, stopping_)),
        name);
  }
}

void ProblemWatch::say(const std::vector<notify::Outcome>& outcomes, const std::string& what) {
  for (const auto& outcome : outcomes) {
    if (outcome.delivered)
      log::info("told by {}: {}", notify::name(outcome.channel), what);
    else
      log::warning("{} is not told by {}", what, notify::describe(outcome));
  }
}

}  // namespace aragora::lifecycle
