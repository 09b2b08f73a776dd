#include "daemon/wire/debates.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "daemon/api/debate_calls.h"
#include "daemon/api/new_debate.h"
#include "daemon/wire/events.h"

namespace aragora::api {

json::object createdBody(const store::Debate& debate, const web::Request& request) {
  return {{"success", true},
          {"debate_id", debate.id},
          {"id", debate.id},
          {"status", store::name(debate.status)},
          {"task", debate.task},
          {"agents", json::array(debate.agents.begin(), debate.agents.end())},
          {"rounds", debate.rounds},
          {"consensus", debate.consensus_kind},
          {"created_at", toIso(debate.created_at)},
          {"websocket_url", fmt::format("{}://{}/ws?debate_id={}", request.secure ? "wss" : "ws",
                                        request.host.empty() ? "localhost" : request.host, debate.id)}};
}

debate::Caller callerOf(const web::Request& request, const Services& services) {
  const auto& principal = request.principal;
  const bool limited = principal.caller == accounts::Caller::User && principal.role != accounts::Role::Admin;
  // Of a debate that nobody owns what may be done is what may be done to everybody's.
  return {principal.name(),
          request.client_address,
          request.request_id,
          principal.key ? principal.key->id : "",
          !accounts::mayChange(principal, ""),
          limited ? services.options.quota : debate::Quota{}};
}

store::Debate require(const web::Request& request, const Services& services) {
  return services.debating.require(request.parameters.at("id"));
}

std::optional<debate::Service::IdempotencyKey> idempotencyKeyOf(const web::Request& request) {
  const auto lines = request.lines("idempotency-key");
  if (lines.empty()) return std::nullopt;
  const auto key = lines.front();  // the edge lets no second one through
  const auto refuse = [](const std::string& what) {
    throw Error(Code::Validation, "Idempotency-Key " + what,
                "send 1 to 255 printable ASCII characters, others for each debate, or leave it away");
  };
  if (key.empty()) refuse("is empty");
  if (std::any_of(key.begin(), key.end(), [](char c) { return c < ' ' || c > '~'; }))
    refuse("holds a byte that is not printable ASCII");
  if (key.size() > 255) refuse("is longer than 255 characters");
  return debate::Service::IdempotencyKey{std::string(key), crypto::sha256Hex(request.body)};
}

namespace {
// Answers only after the row and its first event are on disk.
web::Response create(const web::Request& request, const Services& services) {
  const auto idempotency = idempotencyKeyOf(request);
  auto draft = parseDebate(request.jsonBody(), request, services);
  auto created = services.debating.create(
      std::move(draft), callerOf(request, services),
      [&request](const store::Debate& debate) { return toJson(createdBody(debate, request)); }, idempotency);
  web::Response response;
  response.body = std::move(created.answer);
  if (created.replayed) response.headers.emplace_back("Idempotent-Replayed", "true");
  return response;
}

struct ListQuery {
  std::int64_t limit = 20;
  std::int64_t offset = 0;
  std::optional<store::DebateStatus> status;
  std::string key() const { return fmt::format("debates|{}|{}|{}", limit, offset, status ? store::name(*status) : ""); }
};

ListQuery parseListQuery(const web::Request& request) {
  ListQuery query{request.integer("limit", 20, 1, 100), request.integer("offset", 0, 0, 100'000'000), std::nullopt};
  const auto found = request.query.find("status");
  if (found == request.query.end() || found->second.empty()) return query;
  using Status = store::DebateStatus;
  static const std::map<std::string, Status> kAliases = {{"active", Status::Running},
                                                         {"in_progress", Status::Running},
                                                         {"concluded", Status::Completed},
                                                         {"archived", Status::Completed},
                                                         {"starting", Status::Created}};
  const auto alias = kAliases.find(found->second);
  query.status = alias == kAliases.end() ? store::parseDebateStatus(found->second) : alias->second;
  if (!query.status) {
    std::vector<std::string> known;
    for (const auto status : store::debateStatuses()) known.emplace_back(store::name(status));
    throw Error(Code::Validation, fmt::format("status '{}' is unknown", printable(found->second, 40)),
                "use one of " + join(known, ", "));
  }
  return query;
}

std::string renderList(const ListQuery& query, const Services& services) {
  const auto page = services.pages.page(query.status, query.limit, query.offset);
  thread_local std::string items;  // a thread's pages are about as large as each other
  items = "[";
  for (const auto& debate : page.debates) {
    if (items.size() > 1) items += ',';
    wire::appendDebateSummary(items, debate);
  }
  items += ']';
  const auto count = static_cast<std::int64_t>(page.debates.size());
  std::string body;
  body.reserve(2 * items.size() + 200);
  JsonObjectText object(body);
  object.integer("total", page.total);
  object.integer("count", count);
  object.integer("limit", query.limit);
  object.integer("offset", query.offset);
  object.flag("has_more", query.offset + count < page.total);
  object.raw("items", items);  // clients use either name
  object.raw("debates", items);
  object.finish();
  return body;
}

web::Response list(const web::Request& request, const Services& services) {
  const auto query = parseListQuery(request);
  web::Response response;
  response.shared_body = services.lists.get(query.key(), [&] { return renderList(query, services); });
  return response;
}

std::optional<web::Response> cachedList(const web::Request& request, const Services& services) {
  web::Response response;
  response.shared_body = services.lists.peek(parseListQuery(request).key());
  return response.shared_body ? std::optional(std::move(response)) : std::nullopt;
}

web::Response show(const web::Request& request, const Services& services) {
  const auto debate = require(request, services);
  web::Response response;
  response.body = wire::renderDebate(debate, services.debates.events(debate.id, 0, kAllEvents));
  return response;
}

web::Response messages(const web::Request& request, const Services& services) {
  const auto limit = request.integer("limit", 50, 1, 200);
  const auto offset = request.integer("offset", 0, 0, 1'000'000);
  const auto debate = require(request, services);
  json::array array;
  std::int64_t total = 0;
  for (const auto& event : services.debates.events(debate.id, 0, kAllEvents)) {
    if (!wire::isMessage(event)) continue;
    if (total >= offset && static_cast<std::int64_t>(array.size()) < limit)
      array.push_back(wire::renderMessage(event, total));
    ++total;
  }
  const auto shown = offset + static_cast<std::int64_t>(array.size());
  return web::jsonResponse(json::object{{"debate_id", debate.id},
                                        {"messages", array},
                                        {"items", array},
                                        {"total", total},
                                        {"offset", offset},
                                        {"limit", limit},
                                        {"has_more", shown < total}});
}

web::Response events(const web::Request& request, const Services& services) {
  const auto since = request.integer("since", 0, 0, INT64_MAX);
  const auto limit = request.integer("limit", 100, 1, 500);
  const auto debate = require(request, services);
  json::array array;
  std::int64_t next = since;
  for (const auto& event : services.debates.events(debate.id, since, limit)) {
    next = event.seq;
    array.push_back(wire::renderEvent(event));
  }
  return web::jsonResponse(
      json::object{{"debate_id", debate.id}, {"events", array}, {"next_seq", next}, {"latest_seq", debate.last_seq}});
}

// Mostly within milliseconds, wherever it runs: then the answer can say so.
std::optional<store::DebateStatus> endsSoon(const std::string& id, const Services& services) {
  for (const int pause : {5, 10, 20, 40, 80, 160}) {
    std::this_thread::sleep_for(std::chrono::milliseconds(pause));
    const auto debate = services.debating.find(id);
    if (debate && debate->finished()) return debate->status;
  }
  return std::nullopt;
}

web::Response cancel(const web::Request& request, const Services& services) {
  const auto debate = services.debating.cancel(request.parameters.at("id"), callerOf(request, services));
  const auto status = endsSoon(debate.id, services);
  return web::jsonResponse(
      json::object{{"success", true},
                   {"debate_id", debate.id},
                   {"status", status ? store::name(*status) : "cancelling"},
                   {"message", status ? "the debate has ended" : "the debate ends at its next step"}});
}
// Within a moment it is recorded, wherever it runs; a debate that waits for its turn rests when that comes.
bool isSoon(const std::string& id, store::DebateStatus wanted, const Services& services) {
  for (const int pause : {5, 10, 20, 40, 80, 160}) {
    std::this_thread::sleep_for(std::chrono::milliseconds(pause));
    const auto debate = services.debating.find(id);
    if (debate && debate->status == wanted) return true;
  }
  return false;
}

web::Response pause(const web::Request& request, const Services& services) {
  const auto debate = services.debating.pause(request.parameters.at("id"), callerOf(request, services));
  const bool rests = isSoon(debate.id, store::DebateStatus::Paused, services);
  return web::jsonResponse(
      json::object{{"success", true},
                   {"debate_id", debate.id},
                   {"status", rests ? store::name(store::DebateStatus::Paused) : "pausing"},
                   {"message", rests ? "the debate rests until it is resumed" : "the debate rests at its next step"}});
}

web::Response resume(const web::Request& request, const Services& services) {
  const auto debate = services.debating.resume(request.parameters.at("id"), callerOf(request, services));
  const bool runs = isSoon(debate.id, store::DebateStatus::Running, services);
  return web::jsonResponse(
      json::object{{"success", true},
                   {"debate_id", debate.id},
                   {"status", runs ? store::name(store::DebateStatus::Running) : "resuming"},
                   {"message", runs ? "the debate goes on" : "the debate goes on when its turn comes"}});
}
}  // namespace

void addDebateRoutes(web::Router& router, const Services& services) {
  const auto route = [&services](web::Response (*handler)(const web::Request&, const Services&)) {
    return [&services, handler](const web::Request& request) { return handler(request, services); };
  };
  using accounts::Permission;
  for (const auto* path : {"/api/debates", "/api/history/debates"})
    router.add({.method = "GET",
                .pattern = path,
                .permission = Permission::ReadDebates,
                .handler = route(list),
                .query = {"limit", "offset", "status"},
                .cached = [&services](const web::Request& request) { return cachedList(request, services); }});
  for (const auto* path : {"/api/debates", "/api/debate"})
    router.add({.method = "POST",
                .pattern = path,
                .permission = Permission::RunDebates,
                .handler = route(create),
                .strictly = web::Bucket::Debates});
  const auto add = [&](const char* method, const char* path, Permission permission, auto handler,
                       std::vector<std::string_view> query = {}) {
    router.add({.method = method,
                .pattern = path,
                .permission = permission,
                .handler = route(handler),
                .query = std::move(query)});
  };
  add("GET", "/api/debates/slug/{id}", Permission::ReadDebates, show);
  add("GET", "/api/debates/{id}", Permission::ReadDebates, show);
  add("GET", "/api/debates/{id}/messages", Permission::ReadDebates, messages, {"limit", "offset"});
  add("GET", "/api/debates/{id}/events", Permission::ReadDebates, events, {"since", "limit"});
  add("POST", "/api/debates/{id}/cancel", Permission::RunDebates, cancel);
  add("POST", "/api/debates/{id}/pause", Permission::RunDebates, pause);
  add("POST", "/api/debates/{id}/resume", Permission::RunDebates, resume);
}

}  // namespace aragora::api
