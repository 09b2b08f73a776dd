// JSON of debates as every client of the original reads it: unions of the names they use. Pure functions.
// Debates are rendered to text at once: a list is twenty of them a thousand times a second.
#pragma once

#include "common/base/money.h"
#include "common/store/debates.h"

namespace aragora::wire {

void appendDebateSummary(std::string& out, const store::Debate& debate);
// Its decision, as JSON text; before there is one, that of none.
std::string_view decisionText(const store::Debate& debate);
// Rounds with messages, critiques and votes, taken from its events.
json::array renderRounds(const std::vector<store::Event>& events);
json::array renderVotes(const std::vector<store::Event>& events);
// Seats with what each of them did.
json::array renderSeats(const store::Debate& debate, const std::vector<store::Event>& events);
// Everything that was said, what came of it and what it cost, to be read by people. (CommonMark)
std::string renderMarkdown(const store::Debate& debate, const std::vector<store::Event>& events, Picos cost);
// With rounds, messages, critiques and votes taken from its events.
std::string renderDebate(const store::Debate& debate, const std::vector<store::Event>& events);

}  // namespace aragora::wire
