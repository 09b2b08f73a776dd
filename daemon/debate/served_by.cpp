#include "daemon/debate/served_by.h"

#include "daemon/debate/seats.h"

namespace aragora::debate {

void addServedBy(json::object& report, const store::Debate& debate, const RunServices& services) {
  std::map<std::string, std::string> given;  // by seat: the provider that it was given
  for (const auto& seat : seatsOf(debate.agents)) {
    std::string why;
    if (const auto found = services.providers.find(seat.agent, why)) given[seat.name] = found->provider->name();
  }
  json::array served;
  std::set<std::string> models;
  std::set<std::string> providers;
  for (const auto& call : services.debates.calls(debate.id)) {
    if (call.state != store::CallState::Done) continue;
    const auto expected = given.find(call.seat);
    served.push_back(json::object{{"seat", call.seat},
                                  {"phase", store::name(call.phase)},
                                  {"round", call.round},
                                  {"attempt", call.attempt},
                                  {"provider", call.provider},
                                  {"model", call.model},
                                  {"substituted", expected != given.end() && expected->second != call.provider}});
    if (call.phase != store::Phase::Propose) continue;
    models.insert(call.provider + ":" + call.model);
    providers.insert(call.provider);
  }
  report["served_by"] = std::move(served);
  report["diversity"] = json::object{{"seats", static_cast<std::int64_t>(debate.agents.size())},
                                     {"models", static_cast<std::int64_t>(models.size())},
                                     {"providers", static_cast<std::int64_t>(providers.size())}};
}

void withoutServedBy(json::object& report) {
  report.erase("served_by");
  report.erase("diversity");
}

}  // namespace aragora::debate
