// The log of matches, which nobody changes: what ratings are made of. A match is recorded later than those before it,
// so that none appears behind the back of whoever walks along it. Since there are records (migration 11) a match has
// the seats, the models that spoke and the votes, as the event match_recorded of its debate has them; one of before has
// the names of agents and how many votes each had, and counts for the models that answered for them, as far as the
// calls of the debate are still there to say so, and for the names otherwise.
#pragma once

#include "common/base/clock.h"
#include "common/database/database.h"
#include "common/ratings/match.h"

namespace aragora::store {

struct LoggedMatch {
  std::string debate_id;
  Micros at = 0;
  ratings::Match match;
};

class MatchLog {
 public:
  // How statements are asked: all in one transaction, or each in its own.
  using Ask = std::function<database::Rows(std::string_view sql, const database::Values& values)>;
  MatchLog(database::Engine engine, Ask ask) : engine_(engine), ask_(std::move(ask)) {}
  explicit MatchLog(database::Connection& connection);
  explicit MatchLog(database::Database& database);

  struct Place {
    Micros at = INT64_MIN;
    std::string id;
  };
  // Those behind `place`, oldest first, at most kBatch; `place` is moved behind the last. Empty: there are no more.
  // What cannot be read as a match is left out (`verify` names it).
  static constexpr std::size_t kBatch = 1000;
  std::vector<LoggedMatch> next(Place& place);

 private:
  void addModels(std::vector<LoggedMatch>& old);
  database::Engine engine_;
  Ask ask_;
};

// What a row of the table says without a record: names and votes.
std::optional<ratings::Match> oldMatch(std::string_view participants, std::string_view scores);
// As versions before records would have recorded it, of the votes that are in a consensus.
std::optional<ratings::Match> oldMatch(const std::vector<ratings::Ballot>& ballots);

}  // namespace aragora::store
