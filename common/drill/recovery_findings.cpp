#include "common/drill/recovery_findings.h"

#include <cmath>

#include "common/backup/elsewhere.h"
#include "common/base/text.h"
#include "common/drill/recovery_judge.h"

namespace aragora::drill {

namespace {
using backup::Kind;
using std::chrono::hours;

constexpr auto kDrillEvery = hours(24 * 100);      // quarterly, and a little
constexpr auto kShortestProof = hours(24 * 3);     // verified nightly, and a little
constexpr std::uint64_t kLeastSpace = 1U << 20;    // anything at all
constexpr std::uint64_t kSpaceForLog = 64U << 20;  // a few segments

std::chrono::milliseconds age(Micros at, Micros now) {
  return std::chrono::milliseconds(std::max<Micros>(0, now - at) / 1000);
}
}  // namespace

std::string_view name(Subject subject) {
  switch (subject) {
    case Subject::Backups:
      return "backups";
    case Subject::Proof:
      return "proof";
    case Subject::Keys:
      return "keys";
    case Subject::Window:
      return "window";
    case Subject::Loss:
      return "loss";
    case Subject::Offsite:
      return "offsite";
    case Subject::Time:
      return "time";
    case Subject::Drill:
      return "drill";
    case Subject::Space:
      return "space";
  }
  return {};
}

const std::vector<Subject>& allSubjects() {
  static const std::vector<Subject> all{Subject::Backups, Subject::Proof, Subject::Keys,
                                        Subject::Window,  Subject::Loss,  Subject::Offsite,
                                        Subject::Time,    Subject::Drill, Subject::Space};
  return all;
}

std::string ago(Micros at, Micros now) {
  if (at > now + kClockTolerance)
    return fmt::format("dated {} ahead of this machine's clock",
                       humanDuration(std::chrono::milliseconds((at - now) / 1000)));
  return humanDuration(age(at, now)) + " ago";
}

bool Judge::ahead(Subject subject, const std::string& what, Micros at) {
  if (at <= state_.at + kClockTolerance) return false;
  say(subject, Level::Failure,
      fmt::format("{} is dated {}, {}: a clock was ahead then, or this machine's is behind", what, toIso(at),
                  ago(at, state_.at)),
      "timedatectl; set the clock right");
  return true;
}

void Judge::backups() {
  for (const auto& kind : state_.kinds) {
    if (!state_.matters(kind) && kind.gone.empty()) continue;
    const auto& rule = kind.rule;
    const auto newest =
        rule.kind == Kind::Full ? std::string("Newest good backup") : fmt::format("Newest {} backup", name(rule.kind));
    const auto make = fmt::format("aragora backup create --kind {}", name(rule.kind));
    const auto backups = name(rule.kind) + " backup";
    if (!kind.newest) {
      say(Subject::Backups, Level::Failure, newest + ": none", make);
    } else {
      const auto due = rule.every.count() == 0      ? std::string("made when it changes")
                       : kind.next_due <= state_.at ? std::string("due now")
                                                    : "next in " + humanDuration(age(state_.at, kind.next_due));
      say(Subject::Backups, kind.late ? Level::Failure : Level::Ok,
          fmt::format("{}: {} ({}, {})", newest, kind.newest->id, ago(kind.newest->manifest->finished_at, state_.at),
                      due),
          kind.late ? "systemctl status aragora-backup.timer; " + make : "");
    }
    for (const auto& shrunk : kind.shrunk)
      say(Subject::Backups, Level::Warning, fmt::format("{}: less than before: {}", newest, backup::describe(shrunk)),
          "look at the live data: is this what you expect?");
    if (!kind.gone.empty()) say(Subject::Backups, Level::Failure, kind.gone, kind.gone_hint);
    if (!kind.disbelieved.empty())
      say(Subject::Backups, Level::Failure,
          fmt::format("What verification found of {} is not believed: {}", counted(kind.disbelieved.size(), backups),
                      kind.disbelieved.back()),
          "somebody wrote it who has not the key; verify anew: aragora backup verify --input ID");
    if (!kind.bad.empty())
      say(Subject::Backups, Level::Failure,
          fmt::format("{} {} not good: {}", counted(kind.bad.size(), backups), agreeing(kind.bad.size(), "is", "are"),
                      kind.bad.back()),
          "see: aragora backup list");
    if (!kind.future.empty())
      say(Subject::Backups, kind.future_is_past ? Level::Warning : Level::Failure,
          fmt::format("{} {} dated ahead of this machine's clock ({}): the clock was ahead when they were "
                      "made, or is behind now",
                      counted(kind.future.size(), backups), agreeing(kind.future.size(), "is", "are"),
                      kind.future.back()),
          fmt::format("timedatectl; {}; aragora backup verify", make));
  }
}

// Old states of the whole place look whole by themselves.
void Judge::told() {
  const bool any =
      std::any_of(state_.kinds.begin(), state_.kinds.end(), [](const auto& kind) { return kind.count > 0; });
  if (any && !state_.told_failure.empty())
    say(Subject::Backups, Level::Warning,
        "Newest backups: not compared with what the database was told: " + state_.told_failure);
}

void Judge::proof() {
  for (const auto& kind : state_.kinds) {
    if ((kind.rule.kind != Kind::Full && kind.rule.kind != Kind::Base) || kind.count == 0) continue;
    const auto name = kind.rule.kind == Kind::Full ? std::string("Newest proven backup") : "Newest proven base backup";
    const auto prove = kind.rule.kind == Kind::Full ? std::string("aragora backup verify")
                                                    : "aragora backup verify --input latest-base";
    const auto allowed = std::max<std::chrono::microseconds>(kShortestProof, kind.rule.every * 3);
    const auto old = [&](Micros at) { return state_.at - at > allowed.count(); };
    if (!kind.proof) {
      const bool long_ago = kind.oldest && old(*kind.oldest);
      say(Subject::Proof, long_ago ? Level::Failure : Level::Unset, name + ": none", prove);
    } else if (!ahead(Subject::Proof, fmt::format("The proof of {}", kind.proof->backup), kind.proof->at)) {
      say(Subject::Proof, old(kind.proof->at) ? Level::Failure : Level::Ok,
          fmt::format("{}: {} ({} {})", name, kind.proof->backup, kind.proof->how, ago(kind.proof->at, state_.at)),
          old(kind.proof->at) ? prove : "");
    }
  }
}

void Judge::keys() {
  std::vector<std::string> opened;
  for (const auto& key : state_.keys) {
    if (key.problems.empty()) {
      if (key.tried > 0) opened.push_back(key.what);
      continue;
    }
    say(Subject::Keys, Level::Failure,
        fmt::format("Keys: {} with the keys at hand: {}",
                    key.one_file
                        ? fmt::format("the newest file of {} does not open", key.what)
                        : fmt::format("{} of {} {} not open", key.problems.size(),
                                      counted(key.tried, key.what + " backup"), agreeing(key.tried, "does", "do")),
                    key.problems.back()),
        "name the key that they were made with in ARAGORA_ENCRYPTION_PREVIOUS_KEYS, then: aragora backup rekey");
  }
  if (opened.empty()) return;
  say(Subject::Keys, Level::Ok,
      state_.opens
          ? "Keys: those at hand open " + join(opened, ", ")
          : "Keys: this machine signs and opens nothing, as it is meant to; signatures hold of " + join(opened, ", "));
}

void Judge::offsite() {
  if (objectives_.offsite.empty()) {
    say(Subject::Offsite, Level::Unset, "Copy elsewhere: none; what this machine loses is lost", "set ARAGORA_OFFSITE");
    return;
  }
  const auto& where = objectives_.offsite;
  const auto fails = [&](const std::string& why) {
    say(Subject::Offsite, Level::Failure, fmt::format("Copy elsewhere: {}: {}", where, why), "aragora backup copy");
  };
  if (!state_.place_problem.empty())
    return say(Subject::Offsite, Level::Failure, fmt::format("Copy elsewhere: {}: {}", where, state_.place_problem),
               backup::kHowToMark);
  if (!state_.copy) {
    if (state_.kind(Kind::Full).count > 0 || state_.kind(Kind::Base).count > 0) return fails("nothing was copied yet");
    return say(Subject::Offsite, Level::Unset, fmt::format("Copy elsewhere: {}: there is nothing to copy yet", where),
               "aragora backup");
  }
  if (!state_.copy->problem.empty()) return fails(state_.copy->problem);
  if (state_.offsite && !state_.offsite->problem.empty()) return fails(state_.offsite->problem);
  if (ahead(Subject::Offsite, "The copy elsewhere", state_.copy->complete_at)) return;
  const auto period = objectives_.every;
  const auto complete = ago(state_.copy->complete_at, state_.at);
  if (age(state_.copy->complete_at, state_.at) > period * 3 / 2)
    return fails(fmt::format("complete {}, the schedule is every {}", complete, humanDuration(period)));
  if (const auto& there = state_.elsewhere) {
    if (!there->failure.empty()) return fails(there->failure);
    if (!there->lacks.empty()) {
      say(Subject::Offsite, Level::Failure,
          fmt::format("Copy elsewhere: {}: {} that {} copied {} not there: {}", where,
                      counted(there->lacks.size(), "thing"), agreeing(there->lacks.size(), "was", "were"),
                      agreeing(there->lacks.size(), "is", "are"), there->lacks.front()),
          "aragora backup copy --again");
      return;
    }
  }
  say(Subject::Offsite, Level::Ok,
      fmt::format("Copy elsewhere: {}, complete {}{}", where, complete,
                  state_.elsewhere ? ", the newest of each kind is there" : ""));
}

void Judge::time() {
  const auto objective = static_cast<double>(objectives_.rto.count());
  for (const auto& prediction : state_.predictions) {
    const bool misses = prediction.seconds > objective;
    say(Subject::Time,
        misses                ? (prediction.measured ? Level::Failure : Level::Warning)
        : prediction.measured ? Level::Ok
                              : Level::Unset,
        fmt::format("A recovery from {} would take about {} ({} of backup, {} of {}; {}; objective {})",
                    prediction.place == Where::Local ? "here" : "elsewhere",
                    humanSeconds(std::llround(prediction.seconds)), humanBytes(prediction.amount.backup),
                    humanBytes(prediction.amount.log),
                    prediction.way == Way::Physical || !state_.sqlite ? "log" : "increments",
                    prediction.measured ? "by the last drill" : "never measured", humanDuration(objective)),
        misses && prediction.measured ? "make base backups more often, or use a faster machine; then: aragora drill"
        : prediction.measured         ? ""
        : prediction.place == Where::Local ? "aragora drill"
                                           : "aragora drill --from offsite");
  }
}

void Judge::drill() {
  const auto& drill = state_.drill;
  if (!drill) return say(Subject::Drill, Level::Unset, "Last drill: none", "aragora drill");
  if (ahead(Subject::Drill, fmt::format("The last drill, {},", drill->id), drill->at)) return;
  const bool overdue = age(drill->at, state_.at) > kDrillEvery;
  say(Subject::Drill,
      !drill->passed ? Level::Failure
      : overdue      ? Level::Warning
                     : Level::Ok,
      fmt::format("Last drill: {} ({}, {})", drill->id, ago(drill->at, state_.at),
                  !drill->authentic ? "its signature does not hold"
                  : !drill->passed  ? "not passed"
                  : overdue         ? "passed; one a quarter is due"
                                    : "passed"),
      drill->passed && !overdue ? "" : "aragora drill");
}

void Judge::space() {
  std::uint64_t largest = kLeastSpace;
  for (const auto& kind : state_.kinds) {
    if (kind.newest) largest = std::max(largest, kind.newest->manifest->storedSize());
  }
  if (state_.hasLog()) largest = std::max(largest, kSpaceForLog);
  const auto where = state_.directory.string();
  const char* hint = "free space; what backups could go: aragora backup prune --dry-run";
  if (state_.read_only)
    say(Subject::Space, Level::Failure, fmt::format("{} is mounted read-only: nothing can be saved", where),
        "see why: dmesg; check its file system before it is mounted for writing again");
  else if (state_.no_inodes)
    say(Subject::Space, Level::Failure, fmt::format("{} takes no more files (inodes)", where), hint);
  else if (state_.free_bytes < largest)
    say(Subject::Space, Level::Failure,
        fmt::format("The disk of {} is full: {} free, the next backup needs {}", where, humanBytes(state_.free_bytes),
                    humanBytes(largest)),
        hint);
  else
    say(Subject::Space, state_.free_bytes < 2 * largest ? Level::Warning : Level::Ok,
        fmt::format("Space: {} free {} {}", humanBytes(state_.free_bytes),
                    state_.directory_missing ? "where the first backup makes" : "in", where),
        state_.free_bytes < 2 * largest ? hint : "");
}

std::vector<Statement> judge(const RecoveryState& state, const Objectives& objectives) {
  return Judge(state, objectives).all();
}

}  // namespace aragora::drill
