#include "common/store/report_words.h"

#include "common/base/text.h"

namespace aragora::store {

namespace {
std::int64_t lengthOf(const json::object& report, std::string_view member) {
  const auto* array = jsonArray(report, member);
  return array == nullptr ? 0 : static_cast<std::int64_t>(array->size());
}

std::string outcomeInWords(const json::object& report) {
  const auto first = jsonTextOr(report, "blind_winner", "");
  const auto last = jsonTextOr(report, "final_winner", "");
  if (report.if_contains("debate_changed_the_outcome") == nullptr || (first.empty() && last.empty())) return {};
  if (jsonIntegerOr(report, "rounds", 0) == 0) return "Nothing was debated: the first vote decided.";
  const auto led = [](const std::string& seat) { return seat.empty() ? std::string("nobody") : seat; };
  const bool changed = jsonFlagOr(report, "debate_changed_the_outcome", false);
  if (changed && first == last)
    return fmt::format("The debate changed the outcome: {} led from the first vote on, with another text.", last);
  if (changed)
    return fmt::format("The debate changed the outcome: {} led the first vote, {} won.", led(first), led(last));
  return fmt::format("The debate did not change the outcome: {} led from the first vote on.", led(last));
}

std::string changesInWords(const json::object& report) {
  const auto* conformity = jsonObject(report, "conformity");
  if (conformity == nullptr || jsonIntegerOr(report, "rounds", 0) == 0) return {};
  const auto flips = jsonIntegerOr(*conformity, "flips", 0);
  if (flips == 0) return "No seat changed its proposal.";
  const auto uncited = jsonIntegerOr(*conformity, "uncited", 0);
  auto text = fmt::format("Proposals were changed {}", counted(flips, "time"));
  if (uncited == 0) return text + ", each time because of a critique.";
  return fmt::format("{}, {} of them without a critique that says why ({} toward what led the first vote).", text,
                     uncited, jsonIntegerOr(*conformity, "uncited_toward_the_first_majority", 0));
}

std::int64_t substitutedIn(const json::object& report) {
  std::int64_t number = 0;
  const auto* served = jsonArray(report, "served_by");
  for (const auto& one : served != nullptr ? *served : json::array())
    number += one.is_object() && jsonFlagOr(one.get_object(), "substituted", false) ? 1 : 0;
  return number;
}
}  // namespace

std::vector<std::string> reportInWords(const json::object& report) {
  std::vector<std::string> sentences;
  const auto add = [&](std::string sentence) {
    if (!sentence.empty()) sentences.push_back(std::move(sentence));
  };
  add(outcomeInWords(report));
  add(changesInWords(report));
  if (const auto turned = lengthOf(report, "vote_flips"); turned > 0)
    add(fmt::format("{} voted for another proposal in the end than at first.", counted(turned, "seat")));
  if (const auto open = lengthOf(report, "unresolved"); open > 0)
    add(fmt::format("{} of severity 4 or 5 led to no change.", counted(open, "critique")));
  if (const auto dropped = lengthOf(report, "dropped"); dropped > 0)
    add(fmt::format("{} did not answer and {} dropped.", counted(dropped, "seat"), agreeing(dropped, "was", "were")));
  if (const auto substituted = substitutedIn(report); substituted > 0)
    add(fmt::format("{} came from another provider than was asked.", counted(substituted, "answer")));
  return sentences;
}

}  // namespace aragora::store
