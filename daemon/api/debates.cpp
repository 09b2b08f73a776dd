#include "daemon/wire/debates.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "daemon/api/api.h"
#include "daemon/debate/consensus.h"
#include "daemon/wire/events.h"

namespace aragora::api {

namespace {
constexpr std::size_t kMaxTask = 100'000;
constexpr std::size_t kMaxContext = 100'000;
constexpr std::size_t kMaxAgents = 10;

// Code points of UTF-8.
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// Collects every field error of a body, so that a client sees all of them at once.
class Fields {
 public:
  explicit Fields(const json::object& body) : body_(body) {}
  void fail(std::string_view field, std::string message) {
    errors_.push_back(json::object{{"field", field}, {"message", std::move(message)}});
  }

  std::string text(std::string_view field, std::size_t limit) {
    const auto* value = body_.if_contains(field);
    if (value == nullptr || value->is_null()) return {};
    if (!value->is_string()) return fail(field, "must be a text"), std::string();
    std::string text(value->get_string());
    if (const auto length = characters(text); length > limit)
      fail(field, fmt::format("has {}, {} are allowed", counted(length, "character"), limit));
    if (text.find('\0') != std::string::npos) fail(field, "must not contain NUL");
    return text;
  }

  std::int64_t integer(std::string_view field, std::int64_t fallback, std::int64_t minimum, std::int64_t maximum) {
    const auto* value = body_.if_contains(field);
    if (value == nullptr || value->is_null()) return fallback;
    const auto number = jsonInteger(body_, field);
    if (!number || *number < minimum || *number > maximum)
      return fail(field, fmt::format("must be a whole number from {} to {}", minimum, maximum)), fallback;
    return *number;
  }

  void raise() const {
    if (errors_.empty()) return;
    std::vector<std::string> texts;
    for (const auto& error : errors_)
      texts.push_back(fmt::format("{} {}", std::string(error.at("field").as_string()),
                                  std::string(error.at("message").as_string())));
    throw Error(Code::Validation, join(texts, "; "), "see /api/openapi.json").with(errors_);
  }

 private:
  const json::object& body_;
  json::array errors_;
};

// A list of names, a comma list, or objects with a name; the clients use all three.
std::vector<std::string> agentsOf(const json::object& body, const Services& services, Fields& fields) {
  const auto* value = body.if_contains("agents");
  if (value == nullptr || value->is_null()) return services.providers.defaultAgents();
  std::vector<std::string> agents;
  if (value->is_string()) {
    agents = split(value->get_string(), ',');
  } else if (value->is_array()) {
    for (const auto& element : value->get_array()) {
      if (element.is_string())
        agents.emplace_back(element.get_string());
      else if (element.is_object())
        agents.push_back(jsonTextOr(element.get_object(), "name", jsonTextOr(element.get_object(), "provider", "")));
      else
        fields.fail("agents", "must hold names or objects with a name");
    }
  } else {
    fields.fail("agents", "must be a list");
  }
  if (agents.empty()) return services.providers.defaultAgents();
  return agents;
}

store::Debate parseDebate(const json::object& body, const Services& services) {
  Fields fields(body);
  store::Debate debate;
  debate.task = fields.text("task", kMaxTask);
  if (debate.task.empty()) debate.task = fields.text("question", kMaxTask);
  if (trim(debate.task).empty()) fields.fail("task", "is required");
  debate.context = fields.text("context", kMaxContext);
  const auto* protocol = jsonObject(body, "protocol");
  const auto asked =
      body.if_contains("rounds") == nullptr && protocol != nullptr ? jsonIntegerOr(*protocol, "rounds", 2) : 2;
  const auto max_rounds = services.options.max_rounds;
  debate.rounds = fields.integer("rounds", std::clamp<std::int64_t>(asked, 0, max_rounds), 0, max_rounds);
  debate.consensus_kind = fields.text("consensus", 64);
  if (debate.consensus_kind.empty())
    debate.consensus_kind = protocol != nullptr ? jsonTextOr(*protocol, "consensus", "majority") : "majority";
  if (!debate::parseConsensusKind(debate.consensus_kind)) {
    fields.fail("consensus", fmt::format("'{}' is not one of majority, supermajority, unanimous, any",
                                         printable(debate.consensus_kind, 40)));
  }
  debate.agents = agentsOf(body, services, fields);
  if (debate.agents.size() < 2 || debate.agents.size() > kMaxAgents)
    fields.fail("agents", fmt::format("must name 2 to {} agents", kMaxAgents));
  for (const auto& agent : debate.agents) {
    std::string why;
    if (agent.find('#') != std::string::npos)  // numbers the seats of an agent that is named several times
      why = "a name has no '#'";
    if (!why.empty() || agent.size() > 100 || printable(agent) != agent || !services.providers.find(agent, why))
      fields.fail("agents",
                  fmt::format("'{}' cannot take part: {}", printable(agent, 60), why.empty() ? "not a name" : why));
  }
  if (const auto* metadata = body.if_contains("metadata"); metadata != nullptr && !metadata->is_null()) {
    if (!metadata->is_object() || toJson(*metadata).size() > 16 * 1024)
      fields.fail("metadata", "must be an object of at most 16 KiB");
    else
      debate.metadata = toJson(*metadata);
  }
  fields.raise();
  return debate;
}

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

debate::Caller callerOf(const web::Request& request) {
  return {request.principal.name(), request.client_address, request.request_id};
}

// Answers only after the row and its first event are on disk.
web::Response create(const web::Request& request, const Services& services) {
  std::optional<debate::Service::IdempotencyKey> idempotency;
  if (const auto header = request.header("idempotency-key"); !header.empty()) {
    if (std::any_of(header.begin(), header.end(), [](char c) { return c < ' ' || c > '~'; }))
      throw Error(Code::Validation, "Idempotency-Key holds a byte that is not printable ASCII");
    if (header.size() > 255) throw Error(Code::Validation, "Idempotency-Key is longer than 255 characters");
    idempotency = {std::string(header), crypto::sha256Hex(request.body)};
  }
  auto created = services.debating.create(
      parseDebate(request.jsonBody(), services), callerOf(request),
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

store::Debate require(const web::Request& request, const Services& services) {
  return services.debating.require(request.parameters.at("id"));
}

web::Response show(const web::Request& request, const Services& services) {
  const auto debate = require(request, services);
  web::Response response;
  response.body = wire::renderDebate(debate, services.debates.events(debate.id, 0, 10'000));
  return response;
}

web::Response messages(const web::Request& request, const Services& services) {
  const auto limit = request.integer("limit", 50, 1, 200);
  const auto offset = request.integer("offset", 0, 0, 1'000'000);
  const auto debate = require(request, services);
  json::array array;
  std::int64_t total = 0;
  for (const auto& event : services.debates.events(debate.id, 0, 10'000)) {
    if (!std::holds_alternative<store::AgentMessage>(event.body)) continue;
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

web::Response cancel(const web::Request& request, const Services& services) {
  const auto debate = services.debating.cancel(request.parameters.at("id"), callerOf(request));
  return web::jsonResponse(json::object{{"success", true},
                                        {"debate_id", debate.id},
                                        {"status", "cancelled"},
                                        {"message", "the debate ends at its next step"}});
}
}  // namespace

void addDebateRoutes(web::Router& router, const Services& services) {
  const auto route = [&services](web::Response (*handler)(const web::Request&, const Services&)) {
    return [&services, handler](const web::Request& request) { return handler(request, services); };
  };
  using accounts::Permission;
  router.add({.method = "GET",
              .pattern = "/api/debates",
              .permission = Permission::ReadDebates,
              .handler = route(list),
              .query = {"limit", "offset", "status"},
              .cached = [&services](const web::Request& request) { return cachedList(request, services); }});
  for (const auto* path : {"/api/debates", "/api/debate"})
    router.add({.method = "POST", .pattern = path, .permission = Permission::RunDebates, .handler = route(create)});
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
}

}  // namespace aragora::api
