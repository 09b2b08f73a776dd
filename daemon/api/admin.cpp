#include "common/audit/audit.h"
#include "common/base/text.h"
#include "daemon/api/account_requests.h"

// What administrators look at: the audit log, the settings in effect, the instances that live.
namespace aragora::api {

namespace {
using accounts::Permission;

constexpr std::int64_t kMostExported = 10'000;
const std::vector<std::string_view> kFilters = {"actor", "action", "object", "result", "since",
                                                "until", "before", "limit",  "offset"};

std::optional<Micros> momentOf(const web::Request& request, std::string_view name) {
  const auto text = request.text(name);
  if (text.empty()) return std::nullopt;
  const auto moment = fromIso(text);
  if (!moment)
    throw Error(Code::Validation, fmt::format("{} '{}' is not a moment", name, printable(text, 60)),
                "2026-11-27T16:00:00Z");
  return moment;
}

audit::Filter filterOf(const web::Request& request, std::int64_t most) {
  audit::Filter filter;
  filter.actor = request.text("actor");
  filter.action = request.text("action");
  filter.object = request.text("object");
  filter.result = request.text("result");
  filter.since = momentOf(request, "since");
  filter.until = momentOf(request, "until");
  filter.before = request.integer("before", 0, 0, INT64_MAX);
  filter.limit = request.integer("limit", 100, 1, most);
  filter.offset = request.integer("offset", 0, 0, 100'000'000);
  return filter;
}

json::object render(const audit::Recorded& recorded) {
  const auto& entry = recorded.entry;
  return {
      {"id", recorded.seq},
      {"seq", recorded.seq},
      {"timestamp", toIso(recorded.at)},
      {"actor", entry.actor},
      {"actor_id", entry.actor},
      {"action", entry.action},
      {"object", entry.object},
      {"resource_id", entry.object},
      {"result", entry.result},
      {"outcome", entry.result},
      {"ip_address", entry.ip_address},
      {"request_id", entry.request_id},
      {"correlation_id", entry.request_id},
      {"details", tryParseJson(recorded.details).value_or(json::value(recorded.details))},  // what was tampered with
      {"event_hash", recorded.hash}};
}

web::Response listAudit(const web::Request& request, const Services& services) {
  const auto filter = filterOf(request, 1000);
  json::array list;
  for (const auto& recorded : audit::entries(services.database, filter)) list.push_back(render(recorded));
  const auto count = list.size();
  return web::jsonResponse(json::object{{"events", list},
                                        {"entries", std::move(list)},
                                        {"total", audit::countEntries(services.database, filter)},
                                        {"count", count},
                                        {"limit", filter.limit},
                                        {"offset", filter.offset}});
}

// JSON lines, newest first. What does not fit is asked for with ?before=, the number in X-Next-Before.
web::Response exportAudit(const web::Request& request, const Services& services) {
  auto filter = filterOf(request, kMostExported);
  if (request.text("limit").empty()) filter.limit = kMostExported;
  const auto found = audit::entries(services.database, filter);
  web::Response response;
  response.content_type = "application/x-ndjson";
  for (const auto& recorded : found) response.body += toJson(render(recorded)) + '\n';
  response.headers.emplace_back("Content-Disposition", "attachment; filename=\"audit.jsonl\"");
  if (static_cast<std::int64_t>(found.size()) == filter.limit)
    response.headers.emplace_back("X-Next-Before", fmt::format("{}", found.back().seq));
  return response;
}

web::Response verifyAudit(const web::Request&, const Services& services) {
  const Reports::Place place(services.reports);  // all of the log
  const auto chain = services.database.reading(
      [&](database::Connection& connection) { return audit::verifyChain(connection, services.keyring); });
  json::array errors;
  if (chain.first_bad) errors.push_back(json::object{{"seq", *chain.first_bad}, {"reason", chain.reason}});
  return web::jsonResponse(json::object{{"verified", !chain.first_bad},
                                        {"entries", chain.entries},
                                        {"total_errors", errors.size()},
                                        {"errors", std::move(errors)}});
}

web::Response settings(const web::Request&, const Services& services) {
  return web::jsonResponse(services.shown_settings());
}

web::Response instances(const web::Request&, const Services& services) {
  auto list = services.instances();
  const auto total = list.size();
  return web::jsonResponse(json::object{{"instances", std::move(list)}, {"total", total}});
}
}  // namespace

void addAdminRoutes(web::Router& router, const Services& services) {
  const auto add = [&](const char* path, RouteHandler handler, std::vector<std::string_view> query = {}) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = Permission::Administer,
                .handler = [&services, handler](const web::Request& request) { return handler(request, services); },
                .query = std::move(query)});
  };
  for (const auto* path : {"/api/admin/audit", "/api/audit/entries", "/api/audit/events"})
    add(path, listAudit, kFilters);
  add("/api/admin/audit/export", exportAudit, kFilters);
  for (const auto* path : {"/api/admin/audit/verify", "/api/audit/verify"}) add(path, verifyAudit);
  add("/api/admin/settings", settings);
  add("/api/admin/instances", instances);
}

}  // namespace aragora::api
