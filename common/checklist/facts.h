// Private to common/checklist: what is looked at for it alone.
#pragma once

#include "common/checklist/boxes.h"
#include "common/checklist/report.h"

namespace aragora::checklist {

// One piece of what a box rests on.
struct Piece {
  State state = State::CouldNotVerify;
  std::string text;
  std::string fix{};
  Micros at = 0;  // 0: now
};

class Facts {
 public:
  explicit Facts(const Evidence& evidence);
  Piece look(Fact fact) const;
  Piece metrics(const std::vector<std::string_view>& names) const;
  Piece drilled(std::string_view beginning) const;

 private:
  void lookAtDatabase();
  void lookAtMetrics();
  void lookAtDrills();
  Piece provider() const;
  Piece secretsManager() const;
  Piece tokenLifetimes() const;
  Piece allChecks() const;
  const Evidence& evidence_;
  std::map<Fact, Piece> database_;
  std::string metrics_;
  std::string metrics_trouble_;
  std::optional<json::object> drill_;
  std::string drill_trouble_;
};

}  // namespace aragora::checklist
