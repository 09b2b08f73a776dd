#include "daemon/api/api.h"
#include "daemon/wire/debates.h"

namespace aragora::api {

namespace {
web::Response agents(const Services& services) {
  std::map<std::string, store::Rating> ratings;
  for (auto& rating : services.ratings.leaderboard(10'000, 0)) ratings[rating.agent] = rating;
  json::array array;
  for (const auto& listing : services.providers.available()) {
    const auto found = ratings.find(listing.agent);
    const auto rating = found == ratings.end() ? store::Rating{} : found->second;
    array.push_back(json::object{{"name", listing.agent},
                                 {"agent_id", listing.agent},
                                 {"provider", listing.provider},
                                 {"model", listing.model},
                                 {"elo", rating.elo},
                                 {"matches", rating.matches},
                                 {"wins", rating.wins},
                                 {"losses", rating.losses},
                                 {"available", true}});
  }
  const auto count = array.size();
  return web::jsonResponse(json::object{{"agents", array}, {"total", count}});
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
                               {"total", services.ratings.count()},
                               {"limit", limit},
                               {"offset", offset}});
  });
  return response;
}
}  // namespace

void addAgentRoutes(web::Router& router, const Services& services) {
  router.add({.method = "GET",
              .pattern = "/api/agents",
              .permission = accounts::Permission::ReadAgents,
              .handler = [&services](const web::Request&) { return agents(services); }});
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
