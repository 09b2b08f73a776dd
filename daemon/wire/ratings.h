// JSON of ratings as every client of the original reads it: unions of the names they use. Pure functions.
#pragma once

#include "common/store/standings.h"

namespace aragora::wire {

// Elo is what people expect to see; ranks go by `lower_bound`.
json::object renderRating(const store::Standings::Entry& entry);
json::object renderMatch(const store::Standings::Played& match);
// A match as one of those who played saw it.
json::object renderPoint(const store::Standings::Point& point, const std::string& name);

}  // namespace aragora::wire
