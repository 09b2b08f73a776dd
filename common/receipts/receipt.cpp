#include "common/receipts/receipt.h"

#include <array>

#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/receipts/canonical.h"

namespace aragora::receipts {

namespace {
// Texts that are names of things and no content. Whatever is not among them is committed to, digits as well: an answer
// may be a number. The list is closed: a receipt is compared by whatever version, and what it does not know it commits
// to.
constexpr auto kNames = std::to_array<std::string_view>(
    {"agent",   "agents",  "by",      "ballot",  "choice",   "code",       "consensus",  "currency",   "dissenting",
     "for",     "from",    "judge",   "kind",    "leader",   "method",     "model",      "models",     "mode",
     "outcome", "order",   "phase",   "policy",  "protocol", "provider",   "providers",  "ranking",    "request_id",
     "role",    "roles",   "rule",    "scope",   "seat",     "seats",      "status",     "supporting", "target",
     "targets", "to",      "unit",    "version", "voter",    "winner",     "winners",    "critic",     "blind_winner",
     "leading", "dropped", "stopped", "in",      "id",       "shape_hash", "prompt_hash"});
constexpr std::size_t kLongestName = 200;

bool isName(std::string_view key, std::string_view text) {
  return text.size() <= kLongestName && validUtf8(text) && std::find(kNames.begin(), kNames.end(), key) != kNames.end();
}

json::object committed(std::string_view salt, std::string_view label, std::string_view content) {
  return {{"commitment", commitment(salt, label, content)}};
}

json::value shown(const json::value& value, std::string_view key, const std::string& label, std::string_view salt) {
  if (const auto* object = value.if_object()) {
    json::object result;
    for (const auto& member : *object)
      result[member.key()] = shown(member.value(), member.key(), label + pointerStep(member.key()), salt);
    return result;
  }
  if (const auto* array = value.if_array()) {
    json::array result;
    for (std::size_t i = 0; i < array->size(); ++i)
      result.push_back(shown((*array)[i], key, fmt::format("{}/{}", label, i), salt));
    return result;
  }
  if (const auto* number = value.if_double()) return json::string(fmt::format("{}", *number));
  if (const auto* integer = value.if_int64();
      integer != nullptr && (*integer > kLargestInteger || *integer < -kLargestInteger))
    return json::string(fmt::format("{}", *integer));
  if (const auto* integer = value.if_uint64()) return json::string(fmt::format("{}", *integer));
  if (const auto* text = value.if_string()) {
    if (text->empty() || isName(key, *text)) return *text;
    return committed(salt, label, *text);
  }
  return value;
}

std::string hex16(std::string_view bytes) { return toHex(crypto::sha256(bytes)).substr(0, 16); }

std::string textIn(const json::object& object, std::string_view key) { return jsonTextOr(object, key, ""); }

// None where the debate came to none.
json::value winnerOf(const json::object& decision) {
  const auto* stated = decision.if_contains("winner");
  if (stated != nullptr) return *stated;
  if (!jsonFlagOr(decision, "reached", false)) return nullptr;
  const auto leader = textIn(decision, "leader");
  return leader.empty() ? json::value(nullptr) : json::value(leader);
}

json::array servedBy(const std::vector<Served>& served) {
  json::array seats;
  for (const auto& one : served) {
    if (seats.empty() || textIn(seats.back().as_object(), "seat") != one.seat)
      seats.push_back(json::object{{"seat", one.seat}, {"served_by", json::array()}});
    json::object by{{"provider", one.provider},
                    {"model", one.model},
                    {"answered", one.answered},
                    {"failed", one.failed},
                    {"tokens_in", one.tokens_in},
                    {"tokens_out", one.tokens_out},
                    {"cost", fmt::format("{}", one.cost_picos)}};
    if (!one.request_ids.empty()) by["request_ids"] = json::array(one.request_ids.begin(), one.request_ids.end());
    seats.back().as_object()["served_by"].as_array().push_back(std::move(by));
  }
  return seats;
}

// Money may be beyond what a number in JSON holds.
json::value budgetOf(const std::optional<Budget>& budget) {
  if (!budget) return nullptr;
  const auto text = [](std::int64_t picos) { return json::string(fmt::format("{}", picos)); };
  return json::object{{"unit", "10^-12 USD"},
                      {"cap", budget->cap ? json::value(text(*budget->cap)) : json::value(nullptr)},
                      {"settled", text(budget->settled)},
                      {"unknown", text(budget->unknown)},
                      {"reserved", text(budget->reserved)}};
}

// What everybody says all the time: in the events' root, and nowhere else.
bool isTalk(std::string_view type) {
  constexpr auto kTalk = std::to_array<std::string_view>(
      {"round_start", "agent_message", "critique", "agent_error", "round_end", "audience_message"});
  return std::find(kTalk.begin(), kTalk.end(), type) != kTalk.end();
}
}  // namespace

std::string commitment(std::string_view salt, std::string_view label, std::string_view content) {
  return toHex(crypto::hmacSha256(crypto::hmacSha256(salt, label), content));
}

json::object project(const EventRecord& event, std::string_view salt) {
  const auto label = fmt::format("{}", event.seq);
  const auto payload = tryParseJson(event.payload);
  if (!payload || !payload->is_object()) return {{"payload", committed(salt, label, event.payload)}};
  return shown(*payload, {}, label, salt).as_object();
}

Hash eventsRoot(const std::vector<EventRecord>& events, std::string_view salt) {
  std::vector<Hash> leaves;
  leaves.reserve(events.size());
  for (const auto& event : events) {
    const auto payload = commitment(salt, fmt::format("{}", event.seq), event.payload);
    leaves.push_back(leafHash(canonical(json::object{{"seq", event.seq},
                                                     {"type", event.type},
                                                     {"round", event.round},
                                                     {"seat", event.seat},
                                                     {"at", event.at},
                                                     {"payload", payload}})));
  }
  return rootOf(leaves);
}

json::object partsOf(const std::vector<EventRecord>& events, std::string_view salt) {
  json::object parts{{"asked", nullptr},  {"begun", nullptr},     {"ballots", json::array()}, {"decision", nullptr},
                     {"winner", nullptr}, {"synthesis", nullptr}, {"end", nullptr},           {"also", json::array()}};
  for (const auto& event : events) {
    if (isTalk(event.type)) continue;
    json::object part{{"seq", event.seq},
                      {"type", event.type},
                      {"round", event.round},
                      {"seat", event.seat},
                      {"said", project(event, salt)}};
    if (event.type == "vote") {
      parts["ballots"].as_array().push_back(std::move(part));
      continue;
    }
    if (event.type == "consensus") parts["winner"] = winnerOf(part["said"].as_object());
    const auto* place = event.type == "debate_created" ? "asked"
                        : event.type == "debate_start" ? "begun"
                        : event.type == "consensus"    ? "decision"
                        : event.type == "synthesis"    ? "synthesis"
                        : event.type == "debate_end"   ? "end"
                                                       : nullptr;
    if (place != nullptr && parts[place].is_null())
      parts[place] = std::move(part);
    else
      parts["also"].as_array().push_back(std::move(part));
  }
  parts["events"] =
      json::object{{"count", static_cast<std::int64_t>(events.size())}, {"root", toHex(eventsRoot(events, salt))}};
  return parts;
}

json::object digestsOf(const json::object& receipt) {
  json::object digests;
  for (const auto& member : receipt) {
    if (member.key() == "digests") continue;
    if (const auto* array = member.value().if_array()) {
      digests[member.key()] = static_cast<std::int64_t>(array->size());
      for (std::size_t i = 0; i < array->size(); ++i)
        digests[fmt::format("{}/{}", std::string_view(member.key()), i)] = hex16(canonical((*array)[i]));
    } else {
      digests[member.key()] = hex16(canonical(member.value()));
    }
  }
  return digests;
}

json::object makeReceipt(const DebateRecord& debate, const LogPlace& place, std::string_view key_id,
                         std::string_view salt, const Software& software) {
  const auto moment = [](const std::optional<Micros>& at) { return at ? json::value(*at) : json::value(nullptr); };
  json::object receipt{
      {"schema", kSchema},
      {"debate", json::object{{"id", debate.id},
                              {"owner", committed(salt, "owner", debate.owner)},
                              {"context", committed(salt, "context", debate.context)},
                              {"created_at", debate.created_at},
                              {"started_at", moment(debate.started_at)},
                              {"ended_at", moment(debate.ended_at)},
                              {"clock", "system, microseconds since 1970 UTC"}}},
      {"seats", servedBy(debate.served)},
      {"budget", budgetOf(debate.budget)},
      {"chain", json::object{{"head", debate.chain_head}, {"key_id", debate.chain_key}}},
      {"log", json::object{{"origin", place.origin}, {"index", place.index}, {"previous", toHex(place.previous)}}},
      {"key_id", key_id},
      {"software", json::object{{"version", software.version}, {"commit", software.commit}}}};
  for (auto& member : partsOf(debate.events, salt)) receipt[member.key()] = std::move(member.value());
  receipt["digests"] = digestsOf(receipt);
  return receipt;
}

json::object makeRotation(std::string_view origin, std::string_view previous32, std::string_view next32, Micros at) {
  return {{"schema", kRotationSchema},
          {"origin", origin},
          {"previous", toBase64(previous32)},
          {"next", toBase64(next32)},
          {"at", at}};
}

}  // namespace aragora::receipts
