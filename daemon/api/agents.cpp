#include "common/base/text.h"
#include "daemon/api/api.h"
#include "daemon/wire/debates.h"

namespace aragora::api {

namespace {
json::object describe(const providers::Providers::Listing& listing, const store::Rating& rating) {
  return {{"name", listing.agent},  {"agent_id", listing.agent}, {"provider", listing.provider},
          {"model", listing.model}, {"elo", rating.elo},         {"matches", rating.matches},
          {"wins", rating.wins},    {"losses", rating.losses},   {"available", true}};
}

constexpr std::int64_t kAllAgents = 10'000;

web::Response agents(const Services& services) {
  std::map<std::string, store::Rating> ratings;
  for (auto& rating : services.ratings.leaderboard(kAllAgents, 0)) ratings[rating.agent] = rating;
  json::array array;
  for (const auto& listing : services.providers.available()) {
    const auto found = ratings.find(listing.agent);
    array.push_back(describe(listing, found == ratings.end() ? store::Rating{} : found->second));
  }
  const auto count = array.size();
  return web::jsonResponse(json::object{{"agents", array}, {"items", array}, {"total", count}});
}

// One that can be asked, or that has been rated: it need not be both.
web::Response agent(const web::Request& request, const Services& services) {
  const auto& name = request.parameters.at("name");
  const auto all = services.ratings.leaderboard(kAllAgents, 0);
  const auto rated = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.agent == name; });
  std::string why;
  const auto seat = services.providers.find(name, why);
  if (!seat && rated == all.end())
    throw Error(Code::NotFound, fmt::format("no agent '{}': {}", printable(name, 60), why), "see /api/agents");
  json::object body;
  if (rated != all.end()) body = wire::renderRating(*rated, rated - all.begin() + 1);
  body["name"] = name;
  body["agent_id"] = name;
  body["available"] = seat.has_value();
  if (!seat) body["why"] = why;
  body["elo"] = rated == all.end() ? store::Rating{}.elo : rated->elo;
  return web::jsonResponse(body);
}

struct Page {
  explicit Page(const web::Request& request)
      : limit(request.integer("limit", 20, 1, 100)), offset(request.integer("offset", 0, 0, 1'000'000)) {}
  std::string key() const { return fmt::format("leaderboard|{}|{}", limit, offset); }
  std::int64_t limit;
  std::int64_t offset;
};

std::optional<web::Response> cachedLeaderboard(const web::Request& request, const Services& services) {
  web::Response response;
  response.shared_body = services.lists.peek(Page(request).key());
  return response.shared_body ? std::optional(std::move(response)) : std::nullopt;
}

web::Response leaderboard(const web::Request& request, const Services& services) {
  const Page page(request);
  const auto [limit, offset] = std::pair(page.limit, page.offset);
  web::Response response;
  response.shared_body = services.lists.get(page.key(), [&, limit = limit, offset = offset] {
    json::array array;
    std::int64_t rank = offset;
    for (const auto& rating : services.ratings.leaderboard(limit, offset))
      array.push_back(wire::renderRating(rating, ++rank));
    return toJson(json::object{{"rankings", array},
                               {"agents", array},
                               {"items", array},
                               {"total", services.ratings.count()},
                               {"limit", limit},
                               {"offset", offset}});
  });
  return response;
}

// What a page of rankings shows beside the list itself.
web::Response leaderboardView(const Services& services) {
  const auto ratings = services.ratings.leaderboard(kAllAgents, 0);
  json::array rankings;
  double sum = 0;
  std::int64_t seats = 0;
  for (const auto& rating : ratings) {
    rankings.push_back(wire::renderRating(rating, static_cast<std::int64_t>(rankings.size()) + 1));
    sum += rating.elo;
    seats += rating.matches;
  }
  const auto count = ratings.size();
  const auto mean = count > 0 ? sum / static_cast<double>(count) : 0.0;
  const auto median = count > 0 ? (ratings[(count - 1) / 2].elo + ratings[count / 2].elo) / 2 : 0.0;
  return web::jsonResponse(json::object{
      {"data", json::object{{"rankings", json::object{{"agents", rankings}, {"count", count}}},
                            {"stats", json::object{{"mean_elo", mean},
                                                   {"median_elo", median},
                                                   {"total_agents", count},
                                                   {"total_match_seats", seats}}}}},
      {"errors",
       json::object{{"partial_failure", false}, {"failed_sections", json::array()}, {"messages", json::object()}}},
      {"global", std::move(rankings)},
      {"by_domain", json::array()},
      {"recent_movers", json::array()},
      {"updated_at", toIso(nowMicros())}});
}
}  // namespace

void addAgentRoutes(web::Router& router, const Services& services) {
  const auto add = [&](const char* path, web::Handler handler) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = accounts::Permission::ReadAgents,
                .handler = std::move(handler)});
  };
  for (const auto* path : {"/api/agents/{name}", "/api/agent/{name}"})
    add(path, [&services](const web::Request& request) { return agent(request, services); });
  add("/api/leaderboard-view", [&services](const web::Request&) { return leaderboardView(services); });
  add("/api/agents", [&services](const web::Request&) { return agents(services); });
  for (const auto* path : {"/api/leaderboard", "/api/rankings"}) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = accounts::Permission::ReadAgents,
                .handler = [&services](const web::Request& request) { return leaderboard(request, services); },
                .query = {"limit", "offset"},
                .cached = [&services](const web::Request& request) { return cachedLeaderboard(request, services); }});
  }
}

}  // namespace aragora::api
