#include "common/base/ids.h"
#include "common/base/text.h"
#include "daemon/api/debate_calls.h"
#include "daemon/api/new_debate.h"
#include "daemon/wire/events.h"

// What else can be done with debates than to create and to cancel one.
namespace aragora::api {

namespace {
constexpr std::size_t kMaxBatch = 50;
constexpr std::size_t kMaxTags = 20;
constexpr std::size_t kMaxMetadata = 16 * 1024;

json::object metadataOf(const store::Debate& debate) {
  return parseJson(debate.metadata, "the metadata of a debate").as_object();
}

std::string requireText(const json::value& value, std::string_view field, std::size_t limit) {
  if (!value.is_string() || value.get_string().size() > limit || value.get_string().find('\0') != json::string::npos)
    throw Error(Code::Validation, fmt::format("{} must be a text of at most {} bytes", field, limit));
  return std::string(value.get_string());
}

json::array requireTags(const json::value& value) {
  if (!value.is_array() || value.get_array().size() > kMaxTags)
    throw Error(Code::Validation, fmt::format("tags must be a list of at most {} texts", kMaxTags));
  for (const auto& tag : value.get_array()) requireText(tag, "a tag", 100);
  return value.get_array();
}

// Title and tags are what its clients call it, and stand with the rest of what they say about it.
json::array apply(const json::object& body, json::object& metadata) {
  json::array updated;
  for (const auto& [field, value] : body) {
    if (field == "title")
      metadata["title"] = requireText(value, "title", 500);
    else if (field == "tags")
      metadata["tags"] = requireTags(value);
    else if (field == "metadata" && value.is_object())
      for (const auto& [name, one] : value.get_object()) metadata[name] = one;
    else
      throw Error(Code::Validation, fmt::format("{} cannot be changed", printable(field, 60)),
                  "title, tags and metadata (an object) can; POST …/cancel ends a debate");
    updated.emplace_back(field);
  }
  if (updated.empty()) throw Error(Code::Validation, "nothing to change", "send title, tags or metadata");
  if (toJson(metadata).size() > kMaxMetadata) throw Error(Code::Validation, "metadata has more than 16 KiB");
  return updated;
}

web::Response update(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  json::array updated;
  const auto debate = services.debating.describe(request.parameters.at("id"), callerOf(request, services),
                                                 [&](const store::Debate& before) {
                                                   auto metadata = metadataOf(before);
                                                   updated = apply(body, metadata);
                                                   return toJson(metadata);
                                                 });
  const auto metadata = metadataOf(debate);
  const auto value = [&](const char* name, const json::value& fallback) {
    const auto* found = metadata.if_contains(name);
    return found == nullptr ? fallback : *found;
  };
  return web::jsonResponse(
      json::object{{"success", true},
                   {"debate_id", debate.id},
                   {"updated_fields", std::move(updated)},
                   {"debate", json::object{{"id", debate.id},
                                           {"title", value("title", json::value(json::string(debate.task)))},
                                           {"status", store::name(debate.status)},
                                           {"tags", value("tags", json::array())},
                                           {"metadata", metadata}}}});
}

// The same question again, to the same agents, with what the body says instead.
web::Response fork(const web::Request& request, const Services& services) {
  const auto parent = require(request, services);
  json::object body{{"task", parent.task},
                    {"context", parent.context},
                    {"agents", json::array(parent.agents.begin(), parent.agents.end())},
                    {"rounds", parent.rounds},
                    {"consensus", parent.consensus_kind}};
  for (const auto& [field, value] : request.jsonBody()) body[field] = value;
  auto draft = parseDebate(body, request, services);
  auto metadata = metadataOf(draft);
  metadata["forked_from"] = parent.id;
  draft.metadata = toJson(metadata);
  auto created =
      services.debating.create(std::move(draft), callerOf(request, services), [&](const store::Debate& debate) {
        auto answer = createdBody(debate, request);
        answer["parent_debate_id"] = parent.id;
        answer["forked_from"] = parent.id;
        return toJson(answer);
      });
  web::Response response;
  response.body = std::move(created.answer);
  return response;
}

const json::array& batchOf(const json::object& body) {
  for (const auto* name : {"items", "debates", "requests"}) {
    const auto* found = body.if_contains(name);
    if (found == nullptr) continue;
    if (!found->is_array() || found->get_array().empty() || found->get_array().size() > kMaxBatch)
      throw Error(Code::Validation,
                  fmt::format("{} must be a list of at least one debate and at most {}", name, kMaxBatch));
    return found->get_array();
  }
  throw Error(Code::Validation, "no debates in the body", "{\"items\": [{\"task\": …}]}");
}

// What its owner or an administrator has to say to it; who speaks is who asks, not what the body says.
web::Response say(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  const auto* role = body.if_contains("role");
  if (role != nullptr && *role != json::value("user"))
    throw Error(Code::Validation, fmt::format("nobody can speak as {} here", printable(toJson(*role), 40)),
                "leave role away, or send \"user\"");
  const auto* content = body.if_contains("content");
  if (content == nullptr || trim(requireText(*content, "content", 8000)).empty())
    throw Error(Code::Validation, "a message needs content", R"({"content": "…"})");
  auto key = idempotencyKeyOf(request);
  if (key) key->fingerprint += request.parameters.at("id");
  auto said = services.debating.say(
      request.parameters.at("id"), callerOf(request, services), std::string(content->get_string()),
      [](const store::Event& event) {
        auto message = wire::renderMessage(event, event.seq);
        auto answer = message;
        message.erase("index");
        answer.erase("index");
        answer["success"] = true;
        answer["debate_id"] = event.debate_id;
        answer["seq"] = event.seq;
        answer["message"] = std::move(message);
        return toJson(answer);
      },
      key);
  web::Response response;
  response.body = std::move(said.answer);
  if (said.replayed) response.headers.emplace_back("Idempotent-Replayed", "true");
  return response;
}

web::Response remove(const web::Request& request, const Services& services) {
  if (!request.body.empty()) throw Error(Code::Validation, "a deletion takes no body", "to look only: ?dry_run=true");
  const bool dry_run = request.flag("dry_run", false);
  const auto removed = services.debating.remove(request.parameters.at("id"), callerOf(request, services), dry_run);
  return web::jsonResponse(json::object{{"deleted", !dry_run},
                                        {"dry_run", dry_run},
                                        {"id", removed.id},
                                        {"debate_id", removed.id},
                                        {"events", removed.events}});
}

// All are understood, or none is created; what fails after that is told one by one.
web::Response batch(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  std::vector<store::Debate> drafts;
  for (const auto& one : batchOf(body)) {
    try {
      if (!one.is_object()) throw Error(Code::Validation, "is not an object");
      auto draft = parseDebate(one.get_object(), request, services);
      drafts.push_back(std::move(draft));
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("debate {} of the batch: {}", drafts.size() + 1, error.what()));
    }
  }
  const auto batch_id = newUlid();
  json::array created;
  json::array errors;
  for (auto& draft : drafts) {
    try {
      draft.batch = {batch_id, static_cast<std::int64_t>(created.size() + errors.size())};
      if (!created.empty() && !request.one_more()) throw Error(Code::RateLimited, "too many debates at once");
      const auto answer =
          services.debating.create(std::move(draft), callerOf(request, services),
                                   [&](const store::Debate& debate) { return toJson(createdBody(debate, request)); });
      created.push_back(parseJson(answer.answer, "our own answer"));
    } catch (const Error& error) {
      if (created.empty()) throw;
      errors.push_back(json::object{{"index", created.size() + errors.size()}, {"error", error.what()}});
    }
  }
  const auto submitted = created.size();
  return web::jsonResponse(json::object{{"success", errors.empty()},
                                        {"batch_id", batch_id},
                                        {"submitted", submitted},
                                        {"debates", created},
                                        {"items", std::move(created)},
                                        {"errors", std::move(errors)}});
}
}  // namespace

void addDebateChangeRoutes(web::Router& router, const Services& services) {
  using Handler = web::Response (*)(const web::Request&, const Services&);
  const auto add = [&](const char* method, const char* path, Handler handler, std::optional<web::Bucket> strictly = {},
                       std::vector<std::string_view> query = {}) {
    router.add({.method = method,
                .pattern = path,
                .permission = accounts::Permission::RunDebates,
                .handler = [&services, handler](const web::Request& request) { return handler(request, services); },
                .query = std::move(query),
                .strictly = strictly});
  };
  for (const auto* method : {"PATCH", "PUT"}) add(method, "/api/debates/{id}", update);
  for (const auto* path : {"/api/debates/{id}/fork", "/api/debates/{id}/clone"})
    add("POST", path, fork, web::Bucket::Debates);
  add("POST", "/api/debates/batch", batch, web::Bucket::Debates);
  add("POST", "/api/debates/{id}/messages", say);
  add("DELETE", "/api/debates/{id}", remove, {}, {"dry_run"});
}

}  // namespace aragora::api
