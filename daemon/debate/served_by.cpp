#include "daemon/debate/served_by.h"

#include "daemon/debate/provider_calls.h"
#include "daemon/debate/spending.h"

namespace aragora::debate {

namespace {
struct Speaks {
  std::string provider;
  std::string family;
};

class Families {
 public:
  Families(const store::Debate& debate, const RunServices& services)
      : models_(services.spending != nullptr ? services.spending->models() : models::Catalogue::builtIn()),
        at_(debate.created_at) {
    auto setup = setupOf(debate, {});
    if (!setup.judge.empty()) setup.seats.push_back({std::string(kJudgeSeat), setup.judge, {}, 0});
    for (const auto& seat : setup.seats) {
      std::string why;
      if (const auto found = services.providers.find(seat.agent, why))
        given_[seat.name] = {std::string(found->provider->name()), of(found->provider->name(), found->model)};
    }
  }
  std::string of(std::string_view provider, std::string_view model) const {
    return models_.familyOf(provider, model, at_);
  }
  bool substituted(const store::Call& call) const {
    const auto known = given_.find(call.seat);
    return known != given_.end() && known->second.provider != call.provider;
  }
  // Another seat has that family already, and this one was given another.
  bool reduced(const store::Call& call) const {
    if (!substituted(call)) return false;
    const auto family = of(call.provider, call.model);
    return given_.at(call.seat).family != family && std::any_of(given_.begin(), given_.end(), [&](const auto& other) {
             return other.first != call.seat && other.second.family == family;
           });
  }

 private:
  const models::Catalogue& models_;
  Micros at_;
  std::map<std::string, Speaks> given_;  // by seat, as it was asked for
};
}  // namespace

void addServedBy(json::object& report, const store::Debate& debate, const RunServices& services) {
  const Families families(debate, services);
  json::array served;
  std::set<std::string> models;
  std::set<std::string> providers;
  std::set<std::string> distinct;
  for (const auto& call : services.debates.calls(debate.id)) {
    if (call.state != store::CallState::Done) continue;
    json::object by{{"seat", call.seat},
                    {"phase", store::name(call.phase)},
                    {"round", call.round},
                    {"attempt", call.attempt},
                    {"provider", call.provider},
                    {"model", call.model},
                    {"substituted", families.substituted(call)},
                    {"diversity_reduced", families.reduced(call)}};
    if (!call.request_id.empty()) by["request_id"] = call.request_id;
    served.push_back(std::move(by));
    if (call.phase != store::Phase::Propose) continue;
    models.insert(call.provider + ":" + call.model);
    providers.insert(call.provider);
    distinct.insert(families.of(call.provider, call.model));
  }
  report["served_by"] = std::move(served);
  report["diversity"] = json::object{{"seats", static_cast<std::int64_t>(debate.agents.size())},
                                     {"models", static_cast<std::int64_t>(models.size())},
                                     {"providers", static_cast<std::int64_t>(providers.size())},
                                     {"families", static_cast<std::int64_t>(distinct.size())}};
}

void withoutServedBy(json::object& report) {
  report.erase("served_by");
  report.erase("diversity");
}

}  // namespace aragora::debate
