// The judge behind recovery_findings.h, in two files: what is kept, and (recovery_loss.cpp) how much would be lost.
// Private to common/drill.
#pragma once

#include "common/drill/recovery_findings.h"

namespace aragora::drill {

inline constexpr Micros kClockTolerance = 60'000'000;

class Judge {
 public:
  Judge(const RecoveryState& state, const Objectives& objectives) : state_(state), objectives_(objectives) {}
  std::vector<Statement> all() {
    backups();
    told();
    proof();
    keys();
    state_.sqlite ? increments() : window();
    loss();
    offsite();
    time();
    drill();
    space();
    return std::move(statements_);
  }

 private:
  void backups();
  void told();
  void proof();
  void keys();
  void increments();
  void window();
  void base();
  void branches();
  void receiver();
  void server();
  void loss();
  void sqliteLoss();
  void postgresLoss();
  void offsite();
  void time();
  void drill();
  void space();

  // Says that `what` is dated in the future, when it is.
  bool ahead(Subject subject, const std::string& what, Micros at);
  void lost(const std::string& where, std::optional<double> seconds);
  std::string objectiveText() const;
  std::string scheduleText() const;  // "up to 24 h would be lost, the objective is 5 min"
  bool scheduleMeetsObjective() const;
  void say(Subject subject, Level level, std::string text, std::string hint = "") {
    statements_.push_back({subject, level, std::move(text), std::move(hint)});
  }

  const RecoveryState& state_;
  const Objectives& objectives_;
  std::vector<Statement> statements_;
};

}  // namespace aragora::drill
