#include "common/base/text.h"
#include "daemon/api/api.h"
#include "daemon/wire/ratings.h"

namespace aragora::api {

namespace {
json::object describe(const providers::Providers::Listing& listing, const ratings::Rating& rating) {
  return {{"name", listing.agent},  {"agent_id", listing.agent}, {"provider", listing.provider},
          {"model", listing.model}, {"elo", rating.elo},         {"matches", rating.matches},
          {"wins", rating.wins},    {"losses", rating.losses},   {"available", true}};
}

// As what answers for it now, or what answered last where that has another name: an alias of the vendor's.
ratings::Rating ratingOf(const Services& services, const std::string& agent, const std::string& provider,
                         const std::string& model) {
  auto known = services.standings.history(ratings::identityOf(agent, provider, model), 0);
  if (!known) known = services.standings.history(agent, 0);
  return known ? known->entry.rating : ratings::Rating{};
}

web::Response agents(const Services& services) {
  json::array array;
  for (const auto& listing : services.providers.available())
    array.push_back(describe(listing, ratingOf(services, listing.agent, listing.provider, listing.model)));
  const auto count = array.size();
  return web::jsonResponse(json::object{{"agents", array}, {"items", array}, {"total", count}});
}

// One that can be asked, or that has been rated: it need not be both.
web::Response agent(const web::Request& request, const Services& services) {
  const auto& name = request.parameters.at("name");
  std::string why;
  const auto seat = services.providers.find(name, why);
  auto rated =
      seat ? services.standings.history(ratings::identityOf(name, std::string(seat->provider->name()), seat->model), 0)
           : std::nullopt;
  if (!rated) rated = services.standings.history(name, 0);
  if (!seat && !rated)
    throw Error(Code::NotFound, fmt::format("no agent '{}': {}", printable(name, 60), why), "see /api/agents");
  json::object body;
  if (rated) body = wire::renderRating(rated->entry);
  body["name"] = name;
  body["agent_id"] = name;
  body["available"] = seat.has_value();
  if (!seat) body["why"] = why;
  body["elo"] = rated ? rated->entry.rating.elo : ratings::kFirstElo;
  if (rated) {
    json::object domains;
    for (const auto& [domain, entry] : rated->domains) domains[domain] = wire::renderRating(entry);
    body["domains"] = std::move(domains);
  }
  return web::jsonResponse(body);
}
}  // namespace

void addAgentRoutes(web::Router& router, const Services& services) {
  const auto add = [&](const char* path, web::Handler handler) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = accounts::Permission::ReadAgents,
                .handler = std::move(handler)});
  };
  for (const auto* path : {"/api/agents/{name}", "/api/agent/{name}", "/api/agents/{name}/profile",
                           "/api/agent/{name}/profile", "/api/leaderboard/agent/{name}"})
    add(path, [&services](const web::Request& request) { return agent(request, services); });
  add("/api/agents", [&services](const web::Request&) { return agents(services); });
}

}  // namespace aragora::api
