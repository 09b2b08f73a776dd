// What a debate that came to its end says of who is better: from its first vote, the blind one where there is one. Who
// is compared are the models that wrote the proposals that were voted on, a fallback included. Pure, any thread.
#pragma once

#include "common/store/debates.h"

namespace aragora::debate {

// nullopt: nobody voted for a peer, or nobody but one model took part. Who said the same shares the votes for it; where
// all did, it is a draw.
std::optional<ratings::Match> matchOf(const store::Debate& debate, const std::vector<store::Event>& events,
                                      const std::vector<store::Call>& calls);

// The field of expertise that somebody gave it, in its metadata; empty for none.
std::string domainOf(const store::Debate& debate);

}  // namespace aragora::debate
