#include "daemon/chat/routes.h"

#include "common/base/text.h"
#include "daemon/api/debate_calls.h"
#include "daemon/api/new_debate.h"
#include "daemon/chat/question.h"
#include "daemon/edge/upgrade.h"

namespace aragora::chat {

namespace {
json::object modelOf(const Profile& profile) {
  return {{"id", std::string(kModelPrefix) + profile.name},
          {"object", "model"},
          {"created", 0},
          {"owned_by", "aragora"},
          {"aragora", profile.request()}};
}

web::Response models(const RouteServices& services) {
  json::array all;
  for (const auto& [name, profile] : services.profiles) all.push_back(modelOf(profile));
  return web::jsonResponse(json::object{{"object", "list"}, {"data", std::move(all)}});
}

web::Response model(const web::Request& request, const RouteServices& services) {
  const auto& id = request.parameters.at("id");
  const auto* profile = findProfile(services.profiles, id);
  if (profile == nullptr)
    throw Error(Code::NotFound, fmt::format("there is no model '{}'", printable(id, 60)), "GET /v1/models has them");
  return web::jsonResponse(modelOf(*profile));
}

// The debate is durable before its answer is waited for. Under an Idempotency-Key that was used, it is the one of then.
web::Response complete(const web::Request& request, const RouteServices& services) {
  const auto question = readQuestion(request.jsonBody(), services.profiles);
  const auto idempotency = api::idempotencyKeyOf(request);
  Waiting waiting;
  waiting.caller = api::callerOf(request, services.api);
  auto draft = api::parseDebate(question.request, request, services.api);
  const auto created = services.api.debating.create(
      std::move(draft), waiting.caller,
      [](const store::Debate& debate) {
        return toJson(json::object{{"debate_id", debate.id}});
      },
      idempotency);
  waiting.debate_id = jsonTextOr(tryParseJson(created.answer).value_or(json::object{}).as_object(), "debate_id", "");
  waiting.receipt_url =
      fmt::format("{}://{}{}/api/debates/{}/receipt", request.secure ? "https" : "http",
                  request.host.empty() ? "localhost" : request.host, request.base_path, waiting.debate_id);
  waiting.model = question.model;
  waiting.request_id = request.request_id;
  waiting.created = nowMicros() / 1'000'000;
  waiting.stream = question.stream;
  waiting.include_usage = question.include_usage;
  web::Response response;
  if (created.replayed) response.headers.emplace_back("Idempotent-Replayed", "true");
  response.upgrade = [&desk = services.desk, waiting](edge::Upgraded&& upgraded) {
    desk.take(std::move(upgraded), waiting);
  };
  return response;
}
}  // namespace

void addRoutes(web::Router& router, const RouteServices& services) {
  using accounts::Permission;
  router.add({.method = "GET",
              .pattern = "/v1/models",
              .permission = Permission::ReadDebates,
              .handler = [services](const web::Request&) { return models(services); },
              .errors = web::ErrorShape::OpenAi});
  for (const auto* pattern : {"/v1/models/{id}", "/v1/models/aragora/{id}"})
    router.add({.method = "GET",
                .pattern = pattern,
                .permission = Permission::ReadDebates,
                .handler = [services](const web::Request& request) { return model(request, services); },
                .errors = web::ErrorShape::OpenAi});
  router.add({.method = "POST",
              .pattern = "/v1/chat/completions",
              .permission = Permission::RunDebates,
              .handler = [services](const web::Request& request) { return complete(request, services); },
              .strictly = web::Bucket::Debates,
              .errors = web::ErrorShape::OpenAi});
}

}  // namespace aragora::chat
