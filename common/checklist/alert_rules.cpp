#include "common/checklist/alert_rules.h"

#include "common/base/error.h"
#include "common/base/moment.h"
#include "common/base/text.h"
#include "common/probe/simple.h"

namespace aragora::checklist {

namespace {
constexpr std::chrono::milliseconds kPatience{5000};
constexpr Micros kLately = 600'000'000;
constexpr const char* kOurRules =
    "load /usr/share/aragora/deploy/prometheus/aragora.rules.yml: rule_files in prometheus.yml, and reload it";
}  // namespace

json::object AlertRules::ask(const std::string& path) const {
  const auto reply = probe::fetch(url_ + path, {}, kPatience);
  const auto answer = tryParseJson(reply.body);
  if (reply.status != 200 || !answer || !answer->is_object() ||
      jsonTextOr(answer->get_object(), "status", "") != "success")
    throw Error(Code::CouldNotVerify, fmt::format("{} answered {} to {}", url_, reply.status, path));
  const auto* data = answer->get_object().if_contains("data");
  return data != nullptr && data->is_object() ? data->get_object() : json::object{};
}

AlertRules::AlertRules(std::string url) : url_(std::move(url)) {
  while (endsWith(url_, "/")) url_.pop_back();
  try {
    readRules(ask("/api/v1/rules?type=alert"));
    const auto receivers = ask("/api/v1/alertmanagers");
    if (const auto* active = jsonArray(receivers, "activeAlertmanagers")) receivers_ = active->size();
    const auto found = ask("/api/v1/query?query=count(aragora_build_info)");
    if (const auto* result = jsonArray(found, "result")) has_metrics_ = !result->empty();
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    trouble_ = fmt::format("Prometheus could not be asked: {}", error.what());
  }
}

void AlertRules::readRules(const json::object& data) {
  const auto* groups = jsonArray(data, "groups");
  for (const auto& group : groups != nullptr ? *groups : json::array{}) {
    const auto* rules = group.is_object() ? jsonArray(group.get_object(), "rules") : nullptr;
    for (const auto& one : rules != nullptr ? *rules : json::array{}) {
      if (!one.is_object()) continue;
      const auto& rule = one.get_object();
      rules_[jsonTextOr(rule, "name", "")] = {jsonTextOr(rule, "health", ""), jsonTextOr(rule, "lastError", ""),
                                              jsonTextOr(rule, "state", ""),
                                              parseMoment(jsonTextOr(rule, "lastEvaluation", "")).value_or(0)};
    }
  }
}

Piece AlertRules::look(std::string_view name) const {
  if (!trouble_.empty()) return {State::CouldNotVerify, trouble_, "name one that can be asked from here: --prometheus"};
  const auto found = rules_.find(name);
  if (found == rules_.end()) return {State::Failed, fmt::format("{} has no rule {}", url_, name), kOurRules};
  const auto& rule = found->second;
  if (rule.health == "err")
    return {State::Failed, fmt::format("{} is not evaluated: {}", name, printable(rule.last_error, 200)), kOurRules};
  if (rule.health != "ok" || nowMicros() - rule.evaluated_at > kLately)
    return {State::CouldNotVerify, fmt::format("{} has not been evaluated yet, or not lately", name), "ask again soon"};
  if (!has_metrics_)
    return {State::Failed, fmt::format("{} has no metrics of a daemon: no rule can find anything", url_),
            "scrape it: /usr/share/aragora/deploy/prometheus/prometheus.yml"};
  if (receivers_ == 0)
    return {State::Failed, fmt::format("{} tells nobody of what it finds", url_),
            "name an Alertmanager that answers: alerting in prometheus.yml, "
            "/usr/share/aragora/deploy/prometheus/alertmanager.yml"};
  return {State::Proved,
          fmt::format("{} is loaded in {} and was evaluated at {} ({}); {} to be told", name, url_,
                      toIso(rule.evaluated_at), rule.state.empty() ? "inactive" : printable(rule.state, 20),
                      receivers_ == 1 ? "one Alertmanager is" : fmt::format("{} Alertmanagers are", receivers_)),
          ""};
}

}  // namespace aragora::checklist
