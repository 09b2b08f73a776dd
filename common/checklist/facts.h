// Private to common/checklist: what is looked at for it alone.
#pragma once

#include "common/checklist/alert_rules.h"
#include "common/checklist/boxes.h"
#include "common/checklist/report.h"

namespace aragora::checklist {

class Facts {
 public:
  explicit Facts(const Evidence& evidence);
  Piece look(Fact fact) const;
  Piece metrics(const std::vector<std::string_view>& names) const;
  Piece drilled(std::string_view beginning) const;
  Piece alert(std::string_view rule) const;

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
  std::optional<AlertRules> alert_rules_;  // where a Prometheus was named
};

}  // namespace aragora::checklist
