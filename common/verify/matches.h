// Private to common/verify: the log of matches against the chains of debates, and ratings against the log.
#pragma once

#include <functional>
#include <set>

#include "common/store/ratings.h"
#include "common/verify/summaries.h"

namespace aragora::verify {

struct LookedAtMatches {
  std::set<std::string> seen;  // debates
  std::string wrong;           // the first whose match is not what its events say
};
// `promised` knows what the events of a debate say; nullptr: there are none.
LookedAtMatches lookAtMatches(database::Connection& connection,
                              const std::function<const Promise*(const std::string& debate_id)>& promised);

// For people; empty when all follow.
std::string firstWrongRating(const std::map<std::string, ratings::Rating>& stored,
                             const std::map<std::string, ratings::Rating>& counted);

}  // namespace aragora::verify
