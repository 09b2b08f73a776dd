#include "common/receipts/bundle.h"

#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/curve.h"
#include "common/receipts/canonical.h"

namespace aragora::receipts {

namespace {
using Names = std::vector<std::string_view>;

std::string pathOf(std::string_view place, std::string_view key) {
  return place.empty() ? std::string(key) : fmt::format("{}/{}", place, key);
}

// What reads one bundle, and says what in it does not hold.
class Verifier {
 public:
  explicit Verifier(const Trust& trust) : trust_(trust) {}

  Verdict run(std::string_view text) {
    const auto document = parseStrict(text, "the bundle", 64U << 20);
    const auto* bundle = document.if_object();
    const auto* receipt = bundle == nullptr ? nullptr : jsonObject(*bundle, "receipt");
    if (receipt == nullptr || jsonTextOr(*bundle, "schema", "") != kBundleSchema)
      throw Error(Code::Damaged, fmt::format("the file is no receipt of schema {}", kBundleSchema),
                  "get it from /api/debates/ID/receipt, or with: aragora receipt export ID");
    onlyThese(*bundle, "", {"schema", "receipt", "signature", "inclusion", "checkpoint", "rotations", "contents"});
    readReceipt(*receipt);
    extendTrust(*bundle);
    signature(*bundle, *receipt);
    log(*bundle, *receipt);
    contents(*bundle, *receipt);
    return std::move(verdict_);
  }

 private:
  void good(std::string subject, std::string message) {
    verdict_.findings.push_back({true, std::move(subject), std::move(message)});
  }
  void bad(std::string subject, std::string message) {
    verdict_.findings.push_back({false, std::move(subject), std::move(message)});
  }

  void onlyThese(const json::object& object, std::string_view place, const Names& names) {
    for (const auto& member : object) {
      if (std::find(names.begin(), names.end(), std::string_view(member.key())) == names.end())
        bad(pathOf(place, printable(member.key(), 60)), "does not belong there");
    }
    for (const auto& name : names) {
      if (!object.contains(name)) bad(pathOf(place, name), "is missing");
    }
  }

  void readReceipt(const json::object& receipt) {
    if (const auto schema = jsonTextOr(receipt, "schema", ""); schema != kSchema)
      bad("receipt/schema", fmt::format("'{}' is none that this version knows", printable(schema, 60)));
    bytes_ = canonical(receipt);
    key_id_ = jsonTextOr(receipt, "key_id", "");
    if (const auto* debate = jsonObject(receipt, "debate")) verdict_.debate_id = jsonTextOr(*debate, "id", "");
    verdict_.winner = jsonTextOr(receipt, "winner", "");
    if (const auto* log = jsonObject(receipt, "log")) {
      origin_ = jsonTextOr(*log, "origin", "");
      verdict_.index = jsonIntegerOr(*log, "index", -1);
    }
    for (const auto& key : trust_.keys) {
      if (!key.name.empty() && key.name != origin_)
        bad("receipt/log/origin",
            fmt::format("is '{}', and the key that was given is of '{}'", printable(origin_, 120), key.name));
      trusted_.insert(key.bytes);
    }
  }

  // The parts whose digest is not the one that was signed with them.
  std::vector<std::string> altered(const json::object& receipt) const {
    std::vector<std::string> names;
    const auto* stated = jsonObject(receipt, "digests");
    if (stated == nullptr) return {"digests"};
    const auto found = digestsOf(receipt);
    for (const auto& member : found) {
      const auto* there = stated->if_contains(member.key());
      if (there == nullptr || *there != member.value()) names.emplace_back(member.key());
    }
    for (const auto& member : *stated) {
      if (!found.contains(member.key())) names.emplace_back(member.key());
    }
    return names;
  }

  struct Rotation {
    std::string previous;
    std::string next;
  };

  // A key that follows one that is trusted, or came before it: both have signed that.
  void extendTrust(const json::object& bundle) {
    const auto* list = jsonArray(bundle, "rotations");
    if (list == nullptr) {
      bad("rotations", "is no list");
      return;
    }
    std::vector<Rotation> rotations;
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (const auto rotation = readRotation((*list)[i], fmt::format("rotations/{}", i)))
        rotations.push_back(*rotation);
    }
    for (bool more = true; more;) {
      more = false;
      for (const auto& [previous, next] : rotations) {
        if (trusted_.count(previous) == trusted_.count(next)) continue;
        trusted_.insert(previous);
        trusted_.insert(next);
        more = true;
      }
    }
  }

  std::optional<Rotation> readRotation(const json::value& value, const std::string& place) {
    const auto* object = value.if_object();
    const auto* statement = object == nullptr ? nullptr : jsonObject(*object, "statement");
    if (statement == nullptr) {
      bad(place, "is no rotation of a key");
      return std::nullopt;
    }
    onlyThese(*object, place, {"statement", "signed_by_previous", "signed_by_next"});
    onlyThese(*statement, place + "/statement", {"schema", "origin", "previous", "next", "at"});
    const auto previous = fromBase64(jsonTextOr(*statement, "previous", ""));
    const auto next = fromBase64(jsonTextOr(*statement, "next", ""));
    const auto said = canonical(*statement);
    bool holds = jsonTextOr(*statement, "schema", "") == kRotationSchema &&
                 jsonTextOr(*statement, "origin", "") == origin_ && previous && next;
    if (!holds) bad(place + "/statement", "is not about a key of this log");
    if (holds) {
      for (const auto& [name, key] : {std::pair{"signed_by_previous", *previous}, std::pair{"signed_by_next", *next}}) {
        const auto text = jsonTextOr(*object, name, "");
        const auto bytes = fromBase64(text);
        if (bytes && toBase64(*bytes) == text && crypto::ed25519Verify(key, said, *bytes)) continue;
        bad(fmt::format("{}/{}", place, name), "does not hold");
        holds = false;
      }
    }
    return holds ? std::optional(Rotation{*previous, *next}) : std::nullopt;
  }

  void signature(const json::object& bundle, const json::object& receipt) {
    const auto text = jsonTextOr(bundle, "signature", "");
    const auto bytes = fromBase64(text);
    const std::string* signer = nullptr;
    bool named = false;
    for (const auto& key : trusted_) {
      named = named || PublicKey{origin_, key}.id() == key_id_;
      if (bytes && toBase64(*bytes) == text && crypto::ed25519Verify(key, bytes_, *bytes)) signer = &key;
    }
    const auto changed = altered(receipt);
    if (signer != nullptr && PublicKey{origin_, *signer}.id() == key_id_) {
      good("signature", fmt::format("of key {}", key_id_));
    } else if (signer != nullptr) {
      bad("receipt/key_id", "names another key than the one that signed it");
    } else if (!named) {
      bad("receipt/key_id", fmt::format("{} is none of the keys that are trusted here", printable(key_id_, 40)));
      bad("signature", "is of no key that is trusted here");
    } else {
      bad("signature", changed.empty() ? "is not the one of this receipt" : "does not hold: the receipt was changed");
    }
    for (const auto& part : changed) bad("receipt/" + printable(part, 60), "is not what was signed");
  }

  void log(const json::object& bundle, const json::object& receipt) {
    const auto* place = jsonObject(receipt, "log");
    const auto* inclusion = jsonObject(bundle, "inclusion");
    if (place == nullptr || inclusion == nullptr) {
      bad(place == nullptr ? "receipt/log" : "inclusion", "is missing");
      return;
    }
    onlyThese(*inclusion, "inclusion", {"index", "size", "hashes"});
    const auto index = jsonIntegerOr(*inclusion, "index", -1);
    const auto size = jsonIntegerOr(*inclusion, "size", -1);
    if (index != verdict_.index)
      bad("inclusion/index", fmt::format("is {}, and the receipt's is {}", index, verdict_.index));
    const auto checkpoint = readCheckpoint(jsonTextOr(bundle, "checkpoint", ""));
    if (!checkpoint) return;
    if (checkpoint->checkpoint.origin != origin_) bad("checkpoint", "is of another log");
    if (checkpoint->checkpoint.size != size)
      bad("inclusion/size", fmt::format("is {}, and the checkpoint's is {}", size, checkpoint->checkpoint.size));
    std::vector<Hash> hashes;
    if (!readHashes(*inclusion, hashes)) return;
    if (includes(leafHash(bytes_), index, size, hashes, checkpoint->checkpoint.root))
      good("inclusion", fmt::format("receipt {} of {}", index, size));
    else
      bad("inclusion", fmt::format("the proof does not lead from this receipt to the root of the checkpoint"));
    compareKept(*checkpoint);
  }

  bool readHashes(const json::object& inclusion, std::vector<Hash>& hashes) {
    const auto* list = jsonArray(inclusion, "hashes");
    if (list == nullptr || list->size() > 64) {
      bad("inclusion/hashes", "is no list of hashes");
      return false;
    }
    for (std::size_t i = 0; i < list->size(); ++i) {
      const auto* text = (*list)[i].if_string();
      const auto bytes = text == nullptr ? std::nullopt : fromHex(*text);
      if (!bytes || bytes->size() != 32 || toHex(*bytes) != std::string_view(*text)) {
        bad(fmt::format("inclusion/hashes/{}", i), "is no hash");
        return false;
      }
      hashes.push_back(*bytes);
    }
    return true;
  }

  std::optional<SignedCheckpoint> readCheckpoint(const std::string& text) {
    try {
      auto checkpoint = parseCheckpoint(text, "the checkpoint");
      std::size_t held = 0;
      for (const auto& key : trusted_) {
        const auto signed_by = checkpoint.signedBy({checkpoint.checkpoint.origin, key});
        if (signed_by && *signed_by) ++held;
      }
      if (held == 0 || held != checkpoint.signatures.size()) {
        bad("checkpoint",
            held == 0 ? "is signed by no key that is trusted here" : "has a signature that does not hold");
        return std::nullopt;
      }
      good("checkpoint", fmt::format("{} receipts, signed", checkpoint.checkpoint.size));
      return checkpoint;
    } catch (const Error& error) {
      bad("checkpoint", error.what());
      return std::nullopt;
    }
  }

  // One that was kept elsewhere: of the same size it is the same; a smaller or larger one needs a proof of its own.
  void compareKept(const SignedCheckpoint& current) {
    if (!trust_.checkpoint) return;
    const auto& kept = trust_.checkpoint->checkpoint;
    if (kept.origin != origin_) {
      bad("kept checkpoint", "is of another log");
    } else if (!keptHolds()) {
      bad("kept checkpoint", "is signed by no key that is trusted here");
    } else if (kept.size == current.checkpoint.size && kept.root == current.checkpoint.root) {
      good("kept checkpoint", fmt::format("is of the same tree, {} receipts", kept.size));
    } else if (kept.size == current.checkpoint.size) {
      bad("kept checkpoint",
          fmt::format("is of the same size, {}, and has another root: the log was rewritten", kept.size));
    } else if (kept.size <= verdict_.index) {
      bad("kept checkpoint", fmt::format("was made before this receipt: its tree has {} and the receipt's index is {}",
                                         kept.size, verdict_.index));
    } else {
      bad("kept checkpoint",
          fmt::format("is of {} receipts and the proof of {}: fetch the bundle of that size (?size={})", kept.size,
                      current.checkpoint.size, kept.size));
    }
  }

  bool keptHolds() const {
    return std::any_of(trusted_.begin(), trusted_.end(), [this](const std::string& key) {
      return trust_.checkpoint->signedBy({trust_.checkpoint->checkpoint.origin, key}).value_or(false);
    });
  }

  void contents(const json::object& bundle, const json::object& receipt) {
    const auto* value = bundle.if_contains("contents");
    if (value == nullptr || value->is_null()) {
      good("contents", "not there: what was said is only committed to");
      return;
    }
    const auto* given = value->if_object();
    const auto salt = given == nullptr ? std::nullopt : fromHex(jsonTextOr(*given, "salt", ""));
    if (!salt || salt->size() != 32 || toHex(*salt) != jsonTextOr(*given, "salt", "")) {
      bad("contents/salt", "is no salt of 32 bytes");
      return;
    }
    verdict_.with_contents = true;
    onlyThese(*given, "contents", {"salt", "owner", "context", "events"});
    const auto before = verdict_.findings.size();
    std::vector<EventRecord> events;
    if (!readEvents(*given, events)) return;
    compareParts(receipt, partsOf(events, *salt));
    const auto* debate = jsonObject(receipt, "debate");
    for (const auto* name : {"owner", "context"}) {
      const auto* stated = debate == nullptr ? nullptr : jsonObject(*debate, name);
      const auto text = jsonText(*given, name);
      if (stated == nullptr || !text || jsonTextOr(*stated, "commitment", "") != commitment(*salt, name, *text))
        bad(fmt::format("contents/{}", name), "is not what the receipt commits to");
    }
    if (verdict_.findings.size() == before)
      good("contents", fmt::format("{}, each as the receipt commits to it", counted(events.size(), "event")));
  }

  bool readEvents(const json::object& given, std::vector<EventRecord>& events) {
    const auto* list = jsonArray(given, "events");
    if (list == nullptr) {
      bad("contents/events", "is no list of events");
      return false;
    }
    for (std::size_t i = 0; i < list->size(); ++i) {
      const auto place = fmt::format("contents/events/{}", i);
      const auto* object = (*list)[i].if_object();
      if (object == nullptr) {
        bad(place, "is no event");
        return false;
      }
      onlyThese(*object, place, {"seq", "type", "round", "seat", "at", "payload"});
      const auto seq = jsonInteger(*object, "seq");
      const auto round = jsonInteger(*object, "round");
      const auto at = jsonInteger(*object, "at");
      const auto type = jsonText(*object, "type");
      const auto seat = jsonText(*object, "seat");
      const auto payload = jsonText(*object, "payload");
      if (!seq || !round || !at || !type || !seat || !payload) {
        bad(place, "is no event");
        return false;
      }
      events.push_back({*seq, *type, *round, *seat, *at, *payload});
    }
    return true;
  }

  // Part for part, so that the one that does not follow is named.
  void compareParts(const json::object& receipt, const json::object& made) {
    for (const auto& member : made) {
      const auto name = std::string(member.key());
      const auto* stated = receipt.if_contains(name);
      if (stated == nullptr) {
        bad("receipt/" + name, "is missing");
        continue;
      }
      const auto* list = stated->if_array();
      const auto* other = member.value().if_array();
      if (list == nullptr || other == nullptr) {
        compare("receipt/" + name, *stated, member.value());
        continue;
      }
      if (list->size() != other->size())
        bad("receipt/" + name, fmt::format("has {}, and the contents give {}", list->size(), other->size()));
      for (std::size_t i = 0; i < std::min(list->size(), other->size()); ++i)
        compare(fmt::format("receipt/{}/{}", name, i), (*list)[i], (*other)[i]);
    }
  }

  // Down to the first member that differs.
  void compare(const std::string& place, const json::value& stated, const json::value& made) {
    if (stated == made) return;
    if (stated.is_object() && made.is_object()) {
      for (const auto& member : stated.get_object()) {
        const auto* other = made.get_object().if_contains(member.key());
        if (other == nullptr)
          bad(pathOf(place, printable(member.key(), 60)), "does not follow from the contents");
        else
          compare(pathOf(place, member.key()), member.value(), *other);
      }
      for (const auto& member : made.get_object()) {
        if (!stated.get_object().contains(member.key()))
          bad(pathOf(place, printable(member.key(), 60)), "is missing, and the contents have it");
      }
      return;
    }
    bad(place, "does not follow from the contents");
  }

  const Trust& trust_;
  Verdict verdict_;
  std::string bytes_;
  std::string origin_;
  std::string key_id_;
  std::set<std::string> trusted_;
};
}  // namespace

bool Verdict::holds() const {
  return !findings.empty() && std::all_of(findings.begin(), findings.end(), [](const Finding& f) { return f.holds; });
}

Verdict verifyBundle(std::string_view text, const Trust& trust) { return Verifier(trust).run(text); }

std::vector<PublicKey> parseKeysDocument(std::string_view text, std::string_view what) {
  const auto document = parseStrict(text, what, 1U << 20);
  const auto* object = document.if_object();
  const auto* list = object == nullptr ? nullptr : jsonArray(*object, "keys");
  std::vector<PublicKey> keys;
  if (list != nullptr) {
    for (const auto& element : *list) {
      if (const auto* key = element.if_object())
        keys.push_back(parsePublicKey(jsonTextOr(*key, "verifier_key", ""), what));
    }
  }
  if (keys.empty()) throw Error(Code::Damaged, fmt::format("{} names no key of receipts", what));
  return keys;
}

}  // namespace aragora::receipts
