#include "common/base/text.h"
#include "common/store/debate_reports.h"
#include "daemon/api/debate_calls.h"
#include "daemon/wire/debates.h"
#include "daemon/wire/events.h"

// One debate, or all of them, seen from one side: what clients ask for instead of taking the whole apart.
namespace aragora::api {

namespace {
struct View {
  store::Debate debate;
  std::vector<store::Event> events;
};

View viewOf(const web::Request& request, const Services& services) {
  View view{require(request, services), {}};
  view.events = services.debates.events(view.debate.id, 0, kAllEvents);
  return view;
}

web::Response listed(const View& view, const char* name, json::array items) {
  const auto total = items.size();
  return web::jsonResponse(
      json::object{{"debate_id", view.debate.id}, {name, items}, {"items", std::move(items)}, {"total", total}});
}

web::Response rounds(const web::Request& request, const Services& services) {
  const auto view = viewOf(request, services);
  return listed(view, "rounds", wire::renderRounds(view.events));
}

web::Response votes(const web::Request& request, const Services& services) {
  const auto view = viewOf(request, services);
  return listed(view, "votes", wire::renderVotes(view.events));
}

web::Response seats(const web::Request& request, const Services& services) {
  const auto view = viewOf(request, services);
  return listed(view, "agents", wire::renderSeats(view.debate, view.events));
}

web::Response timeline(const web::Request& request, const Services& services) {
  const auto view = viewOf(request, services);
  json::array events;
  for (const auto& event : view.events) events.push_back(wire::renderEvent(event));
  return listed(view, "timeline", std::move(events));
}

json::object consensusOf(const store::Debate& debate) {
  return parseJson(wire::decisionText(debate), "the consensus of a debate").as_object();
}

web::Response consensus(const web::Request& request, const Services& services) {
  const auto debate = require(request, services);
  auto body = consensusOf(debate);
  body["consensus"] = consensusOf(debate);
  body["debate_id"] = debate.id;
  body["status"] = store::name(debate.status);
  body["decided"] = !debate.consensus.empty();
  return web::jsonResponse(body);
}

web::Response summary(const web::Request& request, const Services& services) {
  const auto view = viewOf(request, services);
  const auto& debate = view.debate;
  json::array dissent;
  for (const auto& event : view.events) {
    const auto* decided = std::get_if<store::Consensus>(&event.body);
    if (decided == nullptr) continue;
    for (const auto& [seat, text] : decided->dissent) dissent.push_back(json::object{{"agent", seat}, {"text", text}});
  }
  return web::jsonResponse(json::object{{"debate_id", debate.id},
                                        {"task", debate.task},
                                        {"status", store::name(debate.status)},
                                        {"summary", debate.final_answer},
                                        {"conclusion", debate.final_answer},
                                        {"final_answer", debate.final_answer},
                                        {"consensus_reached", debate.consensus_reached.value_or(false)},
                                        {"confidence", debate.confidence},
                                        {"rounds_used", debate.rounds_used},
                                        {"agents", json::array(debate.agents.begin(), debate.agents.end())},
                                        {"dissent", std::move(dissent)},
                                        {"outcome", debate.outcome}});
}

web::Response exported(const web::Request& request, const Services& services, const std::string& format) {
  if (format != "json" && format != "md" && format != "markdown")
    throw Error(Code::Validation, fmt::format("there is no export as '{}'", printable(format, 20)), "use json or md");
  const auto view = viewOf(request, services);
  const bool as_json = format == "json";
  web::Response response;
  response.body = as_json ? wire::renderDebate(view.debate, view.events)
                          : wire::renderMarkdown(view.debate, view.events, services.debates.costOf(view.debate.id));
  if (!as_json) response.content_type = "text/markdown; charset=utf-8";
  response.headers.emplace_back("Content-Disposition", fmt::format("attachment; filename=\"debate-{}.{}\"",
                                                                   view.debate.id, as_json ? "json" : "md"));
  return response;
}

web::Response search(const web::Request& request, const Services& services) {
  if (request.query.count("q") + request.query.count("query") > 1)
    throw Error(Code::Validation, "q and query are one parameter: give one of them");
  const auto words = request.text("q") + request.text("query");
  if (trim(words).empty()) throw Error(Code::Validation, "nothing to search for", "?q=WORDS");
  if (words.size() > 500) throw Error(Code::Validation, "the search is longer than 500 bytes");
  const auto limit = request.integer("limit", 20, 1, 100);
  const auto offset = request.integer("offset", 0, 0, 1'000'000);
  const auto found = [&] {
    const Reports::Place place(services.reports);
    return store::searchDebates(services.database, words, limit, offset);
  }();
  std::string items = "[";
  for (const auto& debate : found.debates) {
    if (items.size() > 1) items += ',';
    wire::appendDebateSummary(items, debate);
  }
  items += ']';
  const auto count = static_cast<std::int64_t>(found.debates.size());
  web::Response response;
  JsonObjectText object(response.body);
  object.text("query", words);
  object.integer("total", found.total);
  object.integer("count", count);
  object.integer("limit", limit);
  object.integer("offset", offset);
  object.flag("has_more", offset + count < found.total);
  for (const auto* name : {"results", "items", "debates"}) object.raw(name, items);
  object.finish();
  return response;
}

std::string statistics(const Services& services) {
  const auto counts = store::countDebates(services.database);
  json::object by_status;
  std::int64_t total = 0;
  for (const auto status : store::debateStatuses()) {
    const auto found = counts.by_status.find(status);
    const auto count = found == counts.by_status.end() ? 0 : found->second;
    by_status[store::name(status)] = count;
    total += count;
  }
  const auto rate =
      counts.decided > 0 ? static_cast<double>(counts.consensus_reached) / static_cast<double>(counts.decided) : 0.0;
  return toJson(json::object{{"total", total},
                             {"total_debates", total},
                             {"by_status", std::move(by_status)},
                             {"completed", counts.decided},
                             {"consensus_reached", counts.consensus_reached},
                             {"consensus_rate", rate},
                             {"average_confidence", counts.mean_confidence},
                             {"average_rounds", counts.mean_rounds},
                             {"average_duration_seconds", counts.mean_seconds}});
}

web::Response stats(const web::Request&, const Services& services) {
  web::Response response;
  response.shared_body = services.reports.statistics([&] { return statistics(services); });
  return response;
}

std::optional<web::Response> keptStats(const Services& services) {
  web::Response response;
  response.shared_body = services.reports.freshStatistics();
  return response.shared_body ? std::optional(std::move(response)) : std::nullopt;
}

// From what its debates are now. A paused debate waits, as one does that has not begun.
web::Response batchStatus(const web::Request& request, const Services& services) {
  const auto& id = request.parameters.at("id");
  const auto debates = services.debates.batch(id);
  if (debates.empty()) throw Error(Code::NotFound, fmt::format("Batch not found: {}", printable(id, 128)));
  std::map<store::DebateStatus, std::int64_t> by_status;
  std::string items = "[";
  for (const auto& debate : debates) {
    ++by_status[debate.status];
    if (items.size() > 1) items += ',';
    wire::appendDebateSummary(items, debate);
  }
  items += ']';
  using Status = store::DebateStatus;
  const auto total = static_cast<std::int64_t>(debates.size());
  const auto ended = by_status[Status::Completed] + by_status[Status::Failed] + by_status[Status::Cancelled];
  web::Response response;
  JsonObjectText object(response.body);
  object.text("batch_id", id);
  object.text("status", ended == total ? "completed" : ended + by_status[Status::Running] > 0 ? "running" : "pending");
  object.integer("total", total);
  object.integer("completed", by_status[Status::Completed]);
  object.integer("failed", by_status[Status::Failed]);
  object.integer("cancelled", by_status[Status::Cancelled]);
  object.integer("running", by_status[Status::Running]);
  object.integer("pending", total - ended - by_status[Status::Running]);
  for (const auto* name : {"items", "debates"}) object.raw(name, items);
  object.finish();
  return response;
}

web::Response queueStatus(const web::Request&, const Services& services) {
  auto open = store::countOpenDebates(services.database);
  using Status = store::DebateStatus;
  const auto running = open[Status::Running];
  const auto pending = open[Status::Created] + open[Status::Pending];
  return web::jsonResponse(json::object{{"queued", pending},
                                        {"pending", pending},
                                        {"running", running},
                                        {"active", running},
                                        {"paused", open[Status::Paused]},
                                        {"total", pending + running + open[Status::Paused]}});
}

web::Response disagreements(const web::Request& request, const Services& services) {
  const auto limit = request.integer("limit", 20, 1, 100);
  json::array list;
  const auto found = [&] {
    const Reports::Place place(services.reports);
    return store::disagreements(services.database, limit);
  }();
  for (const auto& debate : found) {
    const auto decided = consensusOf(debate);
    const auto* dissenting = decided.if_contains("dissenting_agents");
    const auto* cast = decided.if_contains("votes");
    list.push_back(json::object{
        {"debate_id", debate.id},
        {"task", debate.task},
        {"topic", debate.task},
        {"agents", json::array(debate.agents.begin(), debate.agents.end())},
        {"dissenting_agents", dissenting == nullptr ? json::value(json::array()) : *dissenting},
        {"dissent_count", dissenting != nullptr && dissenting->is_array() ? dissenting->get_array().size() : 0},
        {"votes", cast == nullptr ? json::value(json::array()) : *cast},
        {"consensus_reached", debate.consensus_reached.value_or(false)},
        {"confidence", debate.confidence},
        {"timestamp", toIso(debate.created_at)}});
  }
  const auto total = list.size();
  return web::jsonResponse(json::object{{"disagreements", std::move(list)}, {"total", total}, {"limit", limit}});
}
}  // namespace

void addDebateViewRoutes(web::Router& router, const Services& services) {
  using Handler = web::Response (*)(const web::Request&, const Services&);
  const auto add = [&](const char* path, Handler handler, std::vector<std::string_view> query = {}) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = accounts::Permission::ReadDebates,
                .handler = [&services, handler](const web::Request& request) { return handler(request, services); },
                .query = std::move(query)});
  };
  for (const auto* path : {"/api/debates/batch/{id}/status", "/api/debates/batch/{id}"}) add(path, batchStatus);
  add("/api/debates/queue/status", queueStatus);
  add("/api/debates/{id}/rounds", rounds);
  add("/api/debates/{id}/votes", votes);
  add("/api/debates/{id}/agents", seats);
  add("/api/debates/{id}/timeline", timeline);
  add("/api/debates/{id}/consensus", consensus);
  add("/api/debates/{id}/summary", summary);
  add("/api/debates/{id}/export",
      [](const web::Request& request, const Services& the_services) {
        const auto format = request.text("format");
        return exported(request, the_services, format.empty() ? "json" : format);
      },
      {"format"});
  add("/api/debates/{id}/export/{format}", [](const web::Request& request, const Services& the_services) {
    return exported(request, the_services, request.parameters.at("format"));
  });
  const auto report = [&](const char* path, Handler handler, std::vector<std::string_view> query) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = accounts::Permission::ReadDebates,
                .handler = [&services, handler](const web::Request& request) { return handler(request, services); },
                .query = std::move(query),
                .strictly = web::Bucket::Reports});
  };
  report("/api/search", search, {"q", "query", "limit", "offset"});
  report("/api/analytics/disagreements", disagreements, {"limit"});
  for (const auto* path : {"/api/debates/stats", "/api/debates/statistics"})
    router.add({.method = "GET",
                .pattern = path,
                .permission = accounts::Permission::ReadDebates,
                .handler = [&services](const web::Request& request) { return stats(request, services); },
                .cached = [&services](const web::Request&) { return keptStats(services); }});
}

}  // namespace aragora::api
