// What participants and documents say is data, whatever it says: how it is made harmless before it is shown to a model,
// and how it is noticed that it speaks to the others instead of to the question. Pure, any thread.
#pragma once

#include <string>
#include <string_view>

namespace aragora::debate {

// As it is shown to others: without control characters (line ends and tabs stay), terminal sequences and characters
// that nobody sees (zero-width, direction, tags); of more than `limit` bytes the middle is left out, with a mark.
std::string asData(std::string_view text, std::size_t limit = 24 * 1024);

// It gives orders to voters, judges or models, or holds a ballot. Shown in the report; it changes no tally, since
// ballots are read from what was answered to the question for them alone.
bool givesOrders(std::string_view text);

// One line of words: what is the same but for blanks and line ends is the same proposal.
std::string folded(std::string_view text);

}  // namespace aragora::debate
