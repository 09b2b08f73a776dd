// What the state of recovery means: one statement a thing that was looked at. `backup status` prints them and leaves
// with 1 when one is a failure, validate-env answers them by subject, the metrics count them: they cannot disagree.
// Pure.
#pragma once

#include "common/drill/recovery_state.h"

namespace aragora::drill {

enum class Level {
  Ok,
  Unset,  // never set up: a warning where it matters (production, `backup status`)
  Warning,
  Failure
};

enum class Subject { Backups, Proof, Keys, Window, Loss, Offsite, Time, Drill, Space };
std::string_view name(Subject subject);
const std::vector<Subject>& allSubjects();

struct Statement {
  Subject subject = Subject::Backups;
  Level level = Level::Ok;
  std::string text;
  std::string hint;  // what to do; empty when there is nothing to do
};

// In the order of the subjects.
std::vector<Statement> judge(const RecoveryState& state, const Objectives& objectives);

// "3 min 2 s ago"; of a time that has not come yet, that it lies ahead of the clock. Never a negative age.
std::string ago(Micros at, Micros now);

}  // namespace aragora::drill
