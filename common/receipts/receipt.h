// The receipt of a debate: who was asked what, who really answered, every ballot, what followed from them, and a root
// over all events. Signed (Ed25519) over its canonical bytes, which are also its leaf in the log. It holds no content:
// texts stand in it as salted commitments, so that what was said can be erased, or shown, and the receipt still holds.
// It is made of the payloads as they are stored, by their names alone: what a later version records comes in by itself.
// Pure functions, any thread.
#pragma once

#include "common/base/clock.h"
#include "common/receipts/note.h"

namespace aragora::receipts {

inline constexpr std::string_view kSchema = "aragora.receipt/v1";
inline constexpr std::string_view kRotationSchema = "aragora.key-rotation/v1";

// As it is stored.
struct EventRecord {
  std::int64_t seq = 0;
  std::string type;
  std::int64_t round = 0;
  std::string seat;
  Micros at = 0;
  std::string payload;  // JSON text
};
// Calls for one seat that one provider's model answered, or did not.
struct Served {
  std::string seat;
  std::string provider;
  std::string model;
  std::int64_t answered = 0;
  std::int64_t failed = 0;  // and those whose outcome nobody knows
  std::int64_t tokens_in = 0;
  std::int64_t tokens_out = 0;
  std::int64_t cost_picos = 0;
  std::vector<std::string> request_ids{};  // the provider's numbers of these calls, in their order
};
// In 10^-12 US dollars, as it was when the debate ended.
struct Budget {
  std::optional<std::int64_t> cap;
  std::int64_t settled = 0;
  std::int64_t unknown = 0;   // of calls whose cost nobody knows
  std::int64_t reserved = 0;  // of calls that had not come back
};
struct DebateRecord {
  std::string id;
  std::string owner;    // committed to only
  std::string context;  // likewise
  Micros created_at = 0;
  std::optional<Micros> started_at;
  std::optional<Micros> ended_at;
  std::vector<EventRecord> events;  // all, in their order
  std::string chain_head;           // of the keyed chain (common/store/event_chain)
  std::string chain_key;
  std::vector<Served> served;  // sorted
  std::optional<Budget> budget;
};
// Where it goes in the log.
struct LogPlace {
  std::string origin;
  std::int64_t index = 0;
  Hash previous;  // leaf hash of the one before; 32 zero bytes before the first
};
struct Software {
  std::string version;
  std::string commit;
};

// `salt` is 32 random bytes, kept beside the content and gone with it.
json::object makeReceipt(const DebateRecord& debate, const LogPlace& place, std::string_view key_id,
                         std::string_view salt, const Software& software);

// HMAC-SHA-256 under HMAC-SHA-256(salt, label), in hexadecimal. Labels: "owner", "context", an event's number for its
// payload, number and JSON pointer for a text in it ("7/reason").
std::string commitment(std::string_view salt, std::string_view label, std::string_view content);
// A payload as a receipt shows it: whole numbers, flags and names as they are, fractions as texts, other texts
// committed to.
json::object project(const EventRecord& event, std::string_view salt);
// Leaves are {"at","payload" (a commitment),"round","seat","seq","type"}, canonical.
Hash eventsRoot(const std::vector<EventRecord>& events, std::string_view salt);

// The parts that were made of events, by their names: "ballots/3". What is in a receipt's "digests".
json::object digestsOf(const json::object& receipt);
// The members of a receipt that are made of events.
json::object partsOf(const std::vector<EventRecord>& events, std::string_view salt);

// That a key followed another: {"at","next","origin","previous","schema"}, keys in base 64.
json::object makeRotation(std::string_view origin, std::string_view previous32, std::string_view next32, Micros at);

}  // namespace aragora::receipts
