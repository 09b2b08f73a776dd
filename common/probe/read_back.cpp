// What is read back of the test debate once it has ended: who spoke, that nothing is missing, and what was signed.
#include "common/base/text.h"
#include "common/probe/look.h"
#include "common/receipts/bundle.h"

namespace aragora::probe {

namespace {
constexpr const char* kAskProviders = "see: aragora validate-env --only ai_providers";
constexpr const char* kKeysPath = "/.well-known/aragora-keys.json";

// Of the events as they are stored.
struct Record {
  std::size_t events = 0;  // numbered from 1, without a gap
  std::set<std::string> types{};
  std::string last{};  // its type
  std::vector<std::string> seats{};
  std::set<std::string> spoke{};
};

// What keeps it from being read, or what does not fit.
std::optional<Seen> readPage(const json::array& page, Record& record) {
  for (const auto& value : page) {
    const auto* event = value.if_object();
    const auto seq = event != nullptr ? jsonIntegerOr(*event, "seq", 0) : 0;
    if (seq != static_cast<std::int64_t>(record.events) + 1)
      return failed(fmt::format("event {} is stored where event {} was due", seq, record.events + 1),
                    "report this as a bug");
    ++record.events;
    record.last = jsonTextOr(*event, "type", "");
    record.types.insert(record.last);
    if (record.last == "agent_message") record.spoke.insert(jsonTextOr(*event, "agent", ""));
    const auto* data = record.last == "debate_start" ? jsonObject(*event, "data") : nullptr;
    const auto* seats = data != nullptr ? jsonArray(*data, "agents") : nullptr;
    for (const auto& seat : seats != nullptr ? *seats : json::array())
      if (seat.is_string()) record.seats.emplace_back(seat.get_string());
  }
  return std::nullopt;
}

std::optional<Seen> readEvents(const Visit& visit, Record& record) {
  while (record.last != "debate_end") {
    const auto path = fmt::format("/api/debates/{}/events?limit=500&since={}", visit.debate->id, record.events);
    const auto answer = visit.site.get(path, As::Caller);
    if (auto obstacle = inTheWay(visit, answer)) return obstacle;
    const auto object = answer.object();
    const auto* page = jsonArray(object, "events");
    if (answer.status != 200 || page == nullptr)
      return failed(fmt::format("GET /api/debates/{{id}}/events {}", said(answer)), "see the log of the deployment");
    if (page->empty()) return std::nullopt;
    if (auto wrong = readPage(*page, record)) return wrong;
  }
  return std::nullopt;
}

Seen judgedRecord(const Visit& visit, const Record& record) {
  std::vector<std::string> missing;
  for (const auto* type : {"debate_start", "agent_message", "vote", "consensus", "debate_end"})
    if (record.types.count(type) == 0) missing.emplace_back(type);
  if (!missing.empty()) return failed(fmt::format("there is none of {}", join(missing, ", ")), kAskProviders);
  const auto& debate = *visit.debate;
  if (debate.socket_ended && debate.seen.size() != record.events)
    return failed(
        fmt::format("{} are stored and {} came over /ws", counted(record.events, "event"), debate.seen.size()),
        "report this as a bug");
  if (record.seats.empty()) return failed("its start names no seat", "report this as a bug");
  std::vector<std::string> spoke;
  std::vector<std::string> silent;
  for (const auto& seat : record.seats) (record.spoke.count(seat) > 0 ? spoke : silent).push_back(printable(seat, 60));
  auto text = fmt::format("{} without a gap, to debate_end; {} answered: {}", counted(record.events, "event"),
                          counted(spoke.size(), "seat"), join(spoke, ", "));
  if (visit.options.own.chain) {
    const auto chained = visit.options.own.chain(debate.id);
    if (chained != record.events)
      return failed(fmt::format("the database of this machine has {} of it, and {} were answered",
                                counted(chained, "event"), record.events),
                    "is the daemon of this machine the one that was asked?");
    text += "; their chain holds";
  }
  if (silent.empty()) return proved(text);
  return failed(fmt::format("{}; these did not: {}", text, join(silent, ", ")), kAskProviders);
}

}  // namespace

Seen lookAtEvents(Visit& visit) {
  if (!visit.debate || !visit.debate->ended) return unverified("there was no debate that ended");
  Record record;
  if (auto obstacle = readEvents(visit, record)) return *obstacle;
  return judgedRecord(visit, record);
}

Seen lookAtReceipt(Visit& visit) {
  if (!visit.debate || !visit.debate->ended) return unverified("there was no debate that ended");
  const auto answer = visit.site.get(fmt::format("/api/debates/{}/receipt", visit.debate->id), As::Caller);
  if (auto obstacle = inTheWay(visit, answer)) return *obstacle;
  if (answer.status != 200)
    return failed(fmt::format("GET /api/debates/{{id}}/receipt {}", said(answer)), "see the log of the deployment");
  // A key that came with the receipt would prove nothing.
  std::string keys;
  if (visit.options.own.keys) {
    keys = visit.options.own.keys();
  } else {
    const auto published = visit.site.get(kKeysPath);
    if (auto other = notItsOwn(published, fmt::format("GET {}", kKeysPath), {200})) return *other;
    keys = published.body;
  }
  const auto verdict =
      receipts::verifyBundle(answer.body, {receipts::parseKeysDocument(keys, "the keys of the log"), {}});
  for (const auto& finding : verdict.findings)
    if (!finding.holds) return failed(fmt::format("{}: {}", finding.subject, finding.message), "run: aragora verify");
  if (!verdict.holds() || verdict.debate_id != visit.debate->id)
    return failed("it is of another debate", "report this as a bug");
  const auto keys_of = visit.options.own.keys ? "in the database of this machine" : "that it publishes";
  if (!verdict.with_contents)
    return unverified(
        fmt::format("its signature holds by the keys {}, its place {} in the log; what was said did not come with it",
                    keys_of, verdict.index),
        "ask the address of the daemon: it gives the contents of what was not erased");
  return proved(fmt::format("its signature holds by the keys {}, its place {} in the log, and what was said", keys_of,
                            verdict.index));
}

}  // namespace aragora::probe
