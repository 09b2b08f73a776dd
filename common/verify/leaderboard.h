// The leaderboard against the events: each match against the chain of its debate, each rating against the matches.
#pragma once

#include "common/database/database.h"
#include "common/verify/debates.h"
#include "common/verify/result.h"

namespace aragora::verify {

// Each match is what its debate's chain says that was played, and none is missing. `heads` of chains that hold.
Result matchesHold(database::Connection& connection, const Heads& heads);
// The ratings are what the match log gives.
Result ratingsFollow(database::Connection& connection);

}  // namespace aragora::verify
