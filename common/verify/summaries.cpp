#include "common/verify/summaries.h"

#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/store/debate_row.h"
#include "common/store/events.h"
#include "common/store/match_log.h"

namespace aragora::verify {

namespace {
constexpr std::size_t kShort = 15;  // bytes that a string holds within itself; 120 bits

std::string digestOf(const json::array& parts) { return crypto::sha256(toJson(parts)).substr(0, kShort); }

std::string digestOf(const store::DebateCreated& event) {
  return digestOf({event.task, json::array(event.agents.begin(), event.agents.end()), event.rounds, event.consensus,
                   event.seed, event.protocol, event.options});
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

// Its place in the log is when the event was written.
std::string digestOf(const ratings::Match& match, Micros at) {
  return digestOf(json::array{"record", ratings::toJsonObject(match), at});
}

// Of before there were records, for which the log chose the time. Who had no vote may have been left out of either.
std::string digestOfOld(std::optional<ratings::Match> match) {
  if (!match) return {};
  std::erase_if(match->seats, [](const ratings::Seat& seat) { return seat.votes == 0; });
  return digestOf(json::array{"old", ratings::toJsonObject(*match)});
}

std::string oldMatchOf(const store::Consensus& event) {
  std::vector<ratings::Ballot> ballots;
  for (const auto& ballot : event.ballots) ballots.push_back({ballot.seat, ballot.vote.choice});
  return event.reached ? digestOfOld(store::oldMatch(ballots)) : std::string();
}
}  // namespace

bool Promise::matchHolds(const database::Row& row, std::size_t first) const {
  if (row.isNull(first + 3)) return match_ == digestOfOld(store::oldMatch(row.text(first), row.text(first + 1)));
  const auto record = tryParseJson(row.text(first + 3)).value_or(nullptr);
  const auto match = record.is_object() ? ratings::matchFrom(record.get_object()) : std::nullopt;
  return match && match_ == digestOf(*match, row.integer(first + 2));
}

void Promise::take(const store::ChainedEvent& event) {
  if (event.type != store::eventName<store::DebateCreated>() && event.type != store::eventName<store::Consensus>() &&
      event.type != store::eventName<store::DebateEnded>() && event.type != store::eventName<store::MatchRecorded>())
    return;
  const auto body = store::fromPayload(event.type, event.payload);
  if (const auto* created = std::get_if<store::DebateCreated>(&body)) {
    created_ = digestOf(*created);
    first_rules_ = created->protocol == 1;
  }
  if (const auto* decided = std::get_if<store::Consensus>(&body)) {
    decided_ = digestOf(*decided);
    if (first_rules_) match_ = oldMatchOf(*decided);  // those of before there were records
  }
  if (const auto* recorded = std::get_if<store::MatchRecorded>(&body)) match_ = digestOf(recorded->match, event.at);
  if (const auto* ended = std::get_if<store::DebateEnded>(&body))
    ended_ = digestOf(store::name(ended->status), ended->outcome, ended->reason);
}

namespace {
std::vector<std::string> textsIn(const std::string& list) {
  std::vector<std::string> texts;
  if (const auto parsed = tryParseJson(list); parsed && parsed->is_array()) {
    for (const auto& text : parsed->get_array()) {
      if (text.is_string()) texts.emplace_back(text.get_string());
    }
  }
  return texts;
}
}  // namespace

std::string Promise::wrongIn(const database::Row& row, std::size_t first) const {
  const auto text = [&](std::size_t column) { return row.text(first + column); };
  store::DebateCreated created{text(0), textsIn(text(1)), row.integer(first + 2), text(3), row.integer(first + 4)};
  created.protocol = row.integer(first + 12);
  created.options = store::recordedOptions(text(13), textsIn(text(14)));
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
