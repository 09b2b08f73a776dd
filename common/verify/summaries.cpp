#include "common/verify/summaries.h"

#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/store/events.h"

namespace aragora::verify {

namespace {
constexpr std::size_t kShort = 15;  // bytes that a string holds within itself; 120 bits

std::string digestOf(const json::array& parts) { return crypto::sha256(toJson(parts)).substr(0, kShort); }

std::string digestOf(const store::DebateCreated& event) {
  return digestOf(
      {event.task, json::array(event.agents.begin(), event.agents.end()), event.rounds, event.consensus, event.seed});
}

// Rows of the first version have fewer fields in their consensus.
json::array summaryParts(const json::object& summary) {
  json::array parts;
  for (const auto* name : {"reached", "agreement", "confidence", "final_answer", "supporting_agents",
                           "dissenting_agents", "votes", "leader"}) {
    const auto* value = summary.if_contains(name);
    parts.push_back(value == nullptr ? json::value() : *value);
  }
  return parts;
}

std::string digestOf(bool reached, double confidence, std::string_view answer, const json::object& summary) {
  // SQLite says fifteen digits of a number.
  return digestOf({reached, fmt::format("{:.12g}", confidence), answer, summaryParts(summary)});
}

std::string digestOf(const store::Consensus& event) {
  // As it comes back from the row.
  const auto summary = parseJson(toJson(store::toSummary(event)), "a consensus").as_object();
  return digestOf(event.reached, event.confidence, event.answer, summary);
}

std::string digestOf(std::string_view status, std::string_view outcome, std::string_view error) {
  return digestOf({status, outcome, error});
}
}  // namespace

void Promise::take(const store::ChainedEvent& event) {
  if (event.type != store::eventName<store::DebateCreated>() && event.type != store::eventName<store::Consensus>() &&
      event.type != store::eventName<store::DebateEnded>())
    return;
  const auto body = store::fromPayload(event.type, event.payload);
  if (const auto* created = std::get_if<store::DebateCreated>(&body)) created_ = digestOf(*created);
  if (const auto* decided = std::get_if<store::Consensus>(&body)) decided_ = digestOf(*decided);
  if (const auto* ended = std::get_if<store::DebateEnded>(&body))
    ended_ = digestOf(store::name(ended->status), ended->outcome, ended->reason);
}

std::string Promise::wrongIn(const database::Row& row, std::size_t first) const {
  const auto text = [&](std::size_t column) { return row.text(first + column); };
  store::DebateCreated created{text(0), {}, row.integer(first + 2), text(3), row.integer(first + 4)};
  if (const auto agents = tryParseJson(text(1)); agents && agents->is_array()) {
    for (const auto& agent : agents->get_array()) {
      if (agent.is_string()) created.agents.emplace_back(agent.get_string());
    }
  }
  if (created_ != digestOf(created)) return "what was asked";
  std::string decided;
  if (!row.isNull(first + 8) || !row.isNull(first + 10) || !row.isNull(first + 11)) {
    const auto summary = tryParseJson(text(11));
    decided = digestOf(!row.isNull(first + 8) && row.integer(first + 8) != 0, row.number(first + 9), text(10),
                       summary && summary->is_object() ? summary->get_object() : json::object());
  }
  if (decided_ != decided) return "what was decided";
  if (!ended_.empty() && ended_ != digestOf(text(5), text(6), text(7))) return "how it ended";
  return {};
}

}  // namespace aragora::verify
