// Who is better: tables, histories and encounters, all of them from store::Standings, so that no page says otherwise
// than another.
#include "common/base/text.h"
#include "daemon/api/api.h"
#include "daemon/wire/ratings.h"

namespace aragora::api {

namespace {
using Standings = store::Standings;
constexpr std::int64_t kAll = 10'000;
constexpr Micros kDay = Micros{86'400} * 1'000'000;
constexpr std::size_t kLongestName = 128;

std::string domainFrom(std::string_view field, const std::string& text) {
  const auto domain = ratings::readDomain(text);
  if (!domain)
    throw Error(Code::Validation, fmt::format("{}: '{}' is no domain", field, printable(text, 60)),
                "see /api/leaderboard/domains");
  return *domain;
}

Standings::Query queryOf(const web::Request& request) {
  Standings::Query query;
  query.limit = request.integer("limit", 20, 1, 100);
  query.offset = request.integer("offset", 0, 0, 1'000'000);
  query.min_matches = request.integer("min_debates", 0, 0, 1'000'000'000);
  const auto path = request.parameters.find("domain");
  query.domain = domainFrom("domain", path == request.parameters.end() ? request.text("domain") : path->second);
  const auto order = request.text("sort_by");
  const auto known = Standings::parseOrder(order.empty() ? "rank" : order);
  if (!known)
    throw Error(Code::Validation,
                fmt::format("sort_by: '{}' is none of rank, elo, matches, wins, win_rate, name", printable(order, 40)));
  query.order = *known;
  // As they are called elsewhere: ranks and names ascend, numbers descend, when nothing is said.
  const bool ascends = query.order == Standings::Order::Rank || query.order == Standings::Order::Name;
  const auto direction = request.text("order");
  if (!direction.empty() && direction != "asc" && direction != "desc")
    throw Error(Code::Validation, fmt::format("order: '{}' is neither asc nor desc", printable(direction, 40)));
  query.backwards = !direction.empty() && (direction == "asc") != ascends;
  return query;
}

std::string keyOf(const Standings::Query& query) {
  return fmt::format("leaderboard|{}|{}|{}|{}|{}|{}", query.limit, query.offset, query.min_matches, query.domain,
                     static_cast<int>(query.order), query.backwards);
}

json::array rendered(const std::vector<Standings::Entry>& entries) {
  json::array array;
  for (const auto& entry : entries) array.push_back(wire::renderRating(entry));
  return array;
}

std::optional<web::Response> cachedLeaderboard(const web::Request& request, const Services& services) {
  web::Response response;
  response.shared_body = services.lists.peek(keyOf(queryOf(request)));
  return response.shared_body ? std::optional(std::move(response)) : std::nullopt;
}

web::Response leaderboard(const web::Request& request, const Services& services) {
  const auto query = queryOf(request);
  web::Response response;
  response.shared_body = services.lists.get(keyOf(query), [&] {
    const auto page = services.standings.page(query);
    if (page.total == 0 && request.parameters.count("domain") > 0 && query.min_matches == 0)
      throw Error(Code::NotFound, fmt::format("nobody was rated in '{}'", query.domain),
                  "see /api/leaderboard/domains");
    const auto array = rendered(page.entries);
    return toJson(json::object{{"rankings", array},
                               {"agents", array},
                               {"items", array},
                               {"total", page.total},
                               {"limit", query.limit},
                               {"offset", query.offset},
                               {"domain", query.domain.empty() ? json::value(nullptr) : json::value(query.domain)}});
  });
  return response;
}

[[noreturn]] void refuseUnrated(const std::string& name) {
  throw Error(Code::NotFound, fmt::format("'{}' has no rating", printable(name, 60)), "see /api/leaderboard");
}

web::Response history(const web::Request& request, const Services& services) {
  const auto& name = request.parameters.at("name");
  const auto limit = request.integer("limit", 30, 1, 500);
  const auto found = services.standings.history(name, limit);
  if (!found) refuseUnrated(name);
  json::array points;
  for (const auto& point : found->points) points.push_back(wire::renderPoint(point, found->entry.rating.name));
  return web::jsonResponse(json::object{{"agent", wire::renderRating(found->entry)},
                                        {"name", found->entry.rating.name},
                                        {"history", std::move(points)},
                                        {"total", found->entry.rating.matches},
                                        {"limit", limit}});
}

std::string required(const web::Request& request, std::string_view field) {
  auto text = request.text(field);
  if (text.empty()) throw Error(Code::Validation, fmt::format("{} is required: the name of an agent", field));
  if (text.size() > kLongestName)
    throw Error(Code::Validation, fmt::format("{} is longer than {} bytes", field, kLongestName));
  return text;
}

web::Response compare(const web::Request& request, const Services& services) {
  std::string missing;
  const auto found = services.standings.compare(required(request, "agent_a"), required(request, "agent_b"), missing);
  if (!found) refuseUnrated(missing);
  json::array met;
  for (const auto& point : found->met) met.push_back(wire::renderPoint(point, found->one.rating.name));
  const bool apart =
      found->one.now.lower() > found->other.now.upper() || found->other.now.lower() > found->one.now.upper();
  return web::jsonResponse(
      json::object{{"agent_a", wire::renderRating(found->one)},
                   {"agent_b", wire::renderRating(found->other)},
                   {"head_to_head", json::object{{"matches", found->won + found->drew + found->lost},
                                                 {"a_wins", found->won},
                                                 {"b_wins", found->lost},
                                                 {"draws", found->drew}}},
                   {"expected_score", ratings::expectedScore(found->one.rating.elo, found->other.rating.elo)},
                   {"distinguishable", apart},
                   {"recent", std::move(met)}});
}

json::array moversOf(const Services& services, std::int64_t days, std::int64_t limit) {
  json::array movers;
  for (const auto& mover : services.standings.movers(nowMicros() - days * kDay, limit)) {
    auto one = wire::renderRating(mover.entry);
    one["elo_change"] = mover.change;
    one["matches_in_period"] = mover.matches;
    movers.push_back(std::move(one));
  }
  return movers;
}

web::Response movers(const web::Request& request, const Services& services) {
  const auto days = request.integer("days", 7, 1, 365);
  return web::jsonResponse(
      json::object{{"movers", moversOf(services, days, request.integer("limit", 20, 1, 100))}, {"days", days}});
}

web::Response domains(const Services& services) {
  json::array domains;
  for (const auto& domain : services.standings.domains())
    domains.push_back(json::object{{"name", domain.name}, {"agents", domain.agents}, {"matches", domain.matches}});
  const auto count = domains.size();
  return web::jsonResponse(json::object{{"domains", std::move(domains)}, {"total", count}});
}

web::Response recentMatches(const web::Request& request, const Services& services) {
  json::array matches;
  const auto limit = request.integer("limit", 20, 1, 100);
  for (const auto& match : services.standings.recent(limit)) matches.push_back(wire::renderMatch(*match));
  return web::jsonResponse(json::object{{"matches", std::move(matches)}, {"limit", limit}});
}

json::object statisticsOf(const std::vector<Standings::Entry>& entries) {
  std::vector<double> elo;
  double sum = 0;
  std::int64_t seats = 0;
  for (const auto& entry : entries) {
    elo.push_back(entry.rating.elo);
    sum += entry.rating.elo;
    seats += entry.rating.matches;
  }
  std::sort(elo.begin(), elo.end());
  const auto count = elo.size();
  return {{"mean_elo", count > 0 ? sum / static_cast<double>(count) : 0.0},
          {"median_elo", count > 0 ? (elo[(count - 1) / 2] + elo[count / 2]) / 2 : 0.0},
          {"total_agents", count},
          {"total_match_seats", seats}};
}

// What a page of rankings shows beside the list itself.
web::Response leaderboardView(const Services& services) {
  const auto page = services.standings.page({.limit = kAll});
  auto rankings = rendered(page.entries);
  json::array by_domain;
  for (const auto& domain : services.standings.domains())
    by_domain.push_back(
        json::object{{"domain", domain.name},
                     {"matches", domain.matches},
                     {"rankings", rendered(services.standings.page({.domain = domain.name, .limit = 5}).entries)}});
  return web::jsonResponse(json::object{
      {"data", json::object{{"rankings", json::object{{"agents", rankings}, {"count", page.total}}},
                            {"stats", statisticsOf(page.entries)}}},
      {"errors",
       json::object{{"partial_failure", false}, {"failed_sections", json::array()}, {"messages", json::object()}}},
      {"global", std::move(rankings)},
      {"by_domain", std::move(by_domain)},
      {"recent_movers", moversOf(services, 7, 10)},
      {"updated_at", toIso(nowMicros())}});
}
}  // namespace

void addLeaderboardRoutes(web::Router& router, const Services& services) {
  const auto add = [&](const char* path, std::vector<std::string_view> query, web::Handler handler) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = accounts::Permission::ReadAgents,
                .handler = std::move(handler),
                .query = std::move(query)});
  };
  for (const auto* path : {"/api/leaderboard", "/api/rankings"}) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = accounts::Permission::ReadAgents,
                .handler = [&services](const web::Request& request) { return leaderboard(request, services); },
                .query = {"limit", "offset", "domain", "min_debates", "sort_by", "order"},
                .cached = [&services](const web::Request& request) { return cachedLeaderboard(request, services); }});
  }
  add("/api/leaderboard/domain/{domain}", {"limit", "offset", "min_debates", "sort_by", "order"},
      [&services](const web::Request& request) { return leaderboard(request, services); });
  for (const auto* path :
       {"/api/agents/{name}/history", "/api/agent/{name}/history", "/api/leaderboard/agent/{name}/elo-history"})
    add(path, {"limit"}, [&services](const web::Request& request) { return history(request, services); });
  for (const auto* path : {"/api/leaderboard/compare", "/api/agents/compare"})
    add(path, {"agent_a", "agent_b"}, [&services](const web::Request& request) { return compare(request, services); });
  add("/api/leaderboard/movers", {"limit", "days"},
      [&services](const web::Request& request) { return movers(request, services); });
  add("/api/leaderboard/domains", {}, [&services](const web::Request&) { return domains(services); });
  add("/api/matches/recent", {"limit"},
      [&services](const web::Request& request) { return recentMatches(request, services); });
  add("/api/leaderboard-view", {}, [&services](const web::Request&) { return leaderboardView(services); });
}

}  // namespace aragora::api
