// What pages show of ratings: tables, overall and by domain, histories and encounters. All of it is counted from the
// log of matches and kept, so that every page says the same; each question first takes in what was recorded since, by
// any instance, and counts anew when a debate was deleted. Nothing that is stored is believed but the log. The first
// question walks the whole log, others wait for it meanwhile; each batch is a question to the database of its own, and
// between two of them a walk minds an interrupt. Memory: 500 matches of each who is rated, at most 1000 domains.
// Thread-safe; a database that cannot be asked is an Error.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "common/store/ratings.h"

namespace aragora::store {

class Standings {
 public:
  explicit Standings(database::Database& database) : database_(database) {}

  // Ahead of the first question. How many matches there are.
  std::int64_t warm();

  enum class Order { Rank, Elo, Matches, Wins, WinRate, Name };
  static std::optional<Order> parseOrder(std::string_view name);
  struct Query {
    std::string domain{};  // empty: all of them
    std::int64_t min_matches = 0;
    std::int64_t limit = 20;
    std::int64_t offset = 0;
    Order order = Order::Rank;
    bool backwards = false;
  };
  struct Entry {
    ratings::Rating rating;
    ratings::Glicko now;
    std::int64_t rank = 0;  // among all of the domain, whatever was asked for
    double recent = 0;      // by how much Elo changed in the last five matches
  };
  struct Page {
    std::vector<Entry> entries;
    std::int64_t total = 0;
  };
  Page page(const Query& query);

  // One of a match, and what it did to one of them.
  struct Seat {
    std::string name;
    ratings::Result result = ratings::Result::Drew;
    std::int64_t votes = 0;
    double points = 0;
  };
  struct Played {
    std::string debate_id;
    Micros at = 0;
    std::string domain;
    std::vector<Seat> seats;
  };
  struct Point {
    std::shared_ptr<const Played> match;  // of all who sat there
    ratings::Result result = ratings::Result::Drew;
    double elo_before = 0;
    double elo = 0;
    ratings::Glicko glicko;
  };
  // By its own name, or by that of an agent: then of what spoke last for it. Newest first.
  struct History {
    Entry entry;
    std::vector<Point> points;
    std::map<std::string, Entry> domains;
  };
  std::optional<History> history(const std::string& name, std::int64_t limit);

  struct Comparison {
    Entry one;
    Entry other;
    std::int64_t won = 0;  // by `one`, of the last 500 matches of each
    std::int64_t drew = 0;
    std::int64_t lost = 0;
    std::vector<Point> met;  // newest first, of `one`; at most 20
  };
  // nullopt: one of them has no rating. `missing` is which.
  std::optional<Comparison> compare(const std::string& one, const std::string& other, std::string& missing);

  // How Elo changed since, the largest change first.
  struct Mover {
    Entry entry;
    double change = 0;
    std::int64_t matches = 0;
  };
  std::vector<Mover> movers(Micros since, std::int64_t limit);
  std::vector<std::shared_ptr<const Played>> recent(std::int64_t limit);  // newest first
  struct Domain {
    std::string name;
    std::int64_t agents = 0;
    std::int64_t matches = 0;
  };
  std::vector<Domain> domains();

 private:
  struct Kept {
    ratings::Table table;
    std::int64_t matches = 0;
  };
  struct State {
    bool known = false;
    std::string removed;
    MatchLog::Place place;
    Kept all;
    std::map<std::string, Kept> domains;
    std::map<std::string, std::deque<Point>> points;
    std::map<std::string, std::string> spoke_last;  // for an agent
    std::deque<std::shared_ptr<const Played>> recent;
  };
  static void count(State& state, const LoggedMatch& match);
  void takeIn();
  std::optional<std::string> known(const std::string& name) const;
  Entry entryOf(const ratings::Ranked& ranked) const;
  std::vector<Entry> ranking(const std::string& domain) const;
  std::optional<Entry> entryOf(const std::string& domain, const std::string& name) const;

  database::Database& database_;
  std::mutex extending_;
  std::shared_mutex mutex_;
  State state_;
};

}  // namespace aragora::store
