// Private to common/probe: one visit under way, and the functions that the table in visit.cpp names.
#pragma once

#include <set>

#include "common/base/interrupt.h"
#include "common/probe/visit.h"

namespace aragora::probe {

struct Visit {
  const VisitOptions& options;
  Site site;
  std::optional<net::WebSocket> socket{};
  bool recognised = false;  // an aragora answers at this very address
  struct Debate {
    std::string id;
    bool ended = false;  // and was read back
    double create_seconds = 0;
    std::string trouble{};           // what ended the socket
    std::vector<std::int64_t> seen;  // numbers of its own events that came over the socket
    std::set<std::string> voices{};  // seats that were heard while they spoke
    bool socket_began = false;       // among them the one of its start
    bool socket_ended = false;       // its last event came
  };
  std::optional<Debate> debate{};
  std::optional<interrupt::Obligation> stays{};  // while the debate is there: it is named when a signal ends this run
};

Seen proved(std::string message);
Seen failed(std::string message, std::string hint);
Seen unverified(std::string message, std::string hint = {});
// What a status says that stands in the way of looking: 401 and 403 without a key or with one, 429.
std::optional<Seen> inTheWay(const Visit& visit, const Answer& answer);
Seen usedUp();
// What is none of the statuses that the daemon has for this says nothing about it: something before it answered.
std::optional<Seen> notItsOwn(const Answer& answer, std::string_view asked, std::initializer_list<int> own);
// "answered 502: Bad Gateway", of what should have been something else.
std::string said(const Answer& answer);

Seen withoutTls(const Visit& visit);
Seen lookAtHealth(Visit& visit);
Seen lookAtReadiness(Visit& visit);
Seen lookAtVersion(Visit& visit);
Seen lookAtCertificate(Visit& visit);
Seen lookAtOldProtocols(Visit& visit);
Seen lookAtRedirect(Visit& visit);
Seen lookAtContentPolicy(Visit& visit);
Seen lookAtTransportSecurity(Visit& visit);
Seen lookAtOtherHeaders(Visit& visit);
Seen lookAtForeignOrigins(Visit& visit);
Seen lookAtMetrics(Visit& visit);
Seen lookAtLimits(Visit& visit);
Seen lookAtAdministration(Visit& visit);

Seen openSocket(Visit& visit);
Seen holdDebate(Visit& visit);
Seen lookAtDelivery(Visit& visit);
Seen lookAtEvents(Visit& visit);
Seen lookAtReceipt(Visit& visit);
Seen deleteDebate(Visit& visit);
Seen measureHealth(Visit& visit);
Seen measureDebates(Visit& visit);
Seen measureLeaderboard(Visit& visit);
Seen measureCreation(Visit& visit);

}  // namespace aragora::probe
