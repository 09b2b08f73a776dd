// A match: who sat at a debate, who really spoke for each seat, and what its peers thought of what it said. It is made
// of the first vote of the debate, before anybody was talked over, where seats do not know whose proposal is whose; a
// vote for oneself is none. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/json.h"
#include "common/ratings/games.h"

namespace aragora::ratings {

// Who was asked for, and who answered: an alias or a fallback has another model than was asked for.
struct Seat {
  std::string seat;   // «claude#2»
  std::string agent;  // «claude»
  std::string provider;
  std::string model;
  std::int64_t votes = 0;   // of peers
  std::int64_t voters = 0;  // who could have voted for it; 0: nobody knows, then as many as for the others
};
// What the votes are worth: who said the same as others has fewer who could vote for it.
double pointsOf(const Seat& seat);
struct Ballot {
  std::string voter;   // a seat
  std::string choice;  // a seat; empty: abstained
};
struct Match {
  std::string domain;  // empty: of none
  std::vector<Seat> seats;
  std::vector<Ballot> ballots;  // those that count
};

// Under which name a seat is rated: «anthropic:claude-opus-5-5», provider and model that answered. The agents of the
// built-in providers differ by nothing but their names, and so do those of whom no more is known: they have their own.
// A name stands in paths, where a slash would end it: «openrouter:vendor:model».
std::string identityOf(const Seat& seat);
// The same for whoever would be asked.
std::string identityOf(const std::string& agent, const std::string& provider, const std::string& model);

// nullopt: nobody voted for a peer, or there are no two to be compared. The votes of `seats` are counted here, those of
// `voters` are left as they are.
std::optional<Match> matchOf(std::string domain, std::vector<Seat> seats, const std::vector<Ballot>& ballots);

// Games between seats that are not the same one's.
std::vector<Game> gamesOf(const Match& match);

// As it is stored and signed; nullopt for what is not one.
json::object toJsonObject(const Match& match);
std::optional<Match> matchFrom(const json::object& object);

// "finance": at most 48 of a-z, 0-9, «-», «_» and «.», with a letter or digit at the front. Capitals are taken as small
// letters, and blanks around it go. nullopt for anything else; empty for empty.
std::optional<std::string> readDomain(std::string_view text);

}  // namespace aragora::ratings
