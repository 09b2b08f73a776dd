// Private to common/checklist: what a Prometheus says of its alerting rules (its HTTP API, /api/v1/rules, alertmanagers
// and query). Asked once, when it is made; one owner.
#pragma once

#include <map>
#include <string>

#include "common/base/json.h"
#include "common/checklist/piece.h"

namespace aragora::checklist {

class AlertRules {
 public:
  // `url` of the server, with its path prefix if it has one. Never throws for what it answers.
  explicit AlertRules(std::string url);
  // Proved: it is loaded, was evaluated lately, has data of ours, and somebody is told.
  Piece look(std::string_view rule) const;

 private:
  struct Rule {
    std::string health;
    std::string last_error;
    std::string state;
    Micros evaluated_at = 0;
  };
  json::object ask(const std::string& path) const;
  void readRules(const json::object& data);
  std::string url_;
  std::map<std::string, Rule, std::less<>> rules_;
  std::size_t receivers_ = 0;  // Alertmanagers that it tells
  bool has_metrics_ = false;   // of a daemon of ours
  std::string trouble_;        // why it could not be asked
};

}  // namespace aragora::checklist
