// Sessions that live in Redis (keys aragora:session:*), as lines of JSON: key, expiry as absolute milliseconds (0:
// none) and the value as DUMP gives it. They are a cache by contract, but losing them logs everybody out.
#pragma once

#include <string>
#include <string_view>

#include "common/base/secret.h"

namespace aragora::backup {

// Empty when there are none. Error(Unreachable) when Redis does not answer.
std::string dumpSessions(const Secret& redis_url);
// Adds the sessions that are not there; live ones win, expired ones stay away. Answers how many were added.
// Error(Damaged) for a line that cannot be read: nothing of it is applied.
std::size_t restoreSessions(const Secret& redis_url, std::string_view lines);

}  // namespace aragora::backup
