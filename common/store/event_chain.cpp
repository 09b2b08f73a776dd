#include "common/store/event_chain.h"

#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::store {

namespace {
void add(std::string& bytes, std::string_view field) { bytes += fmt::format("{}:{}", field.size(), field); }

std::string sealOver(const std::string& key, const ChainedEvent& head) {
  std::string bytes;
  for (const auto& field : {std::string("seal"), head.debate_id, fmt::format("{}", head.seq), head.hash})
    add(bytes, field);
  return toHex(crypto::hmacSha256(key, bytes));
}
}  // namespace

ChainedEvent toChained(const database::Row& row) {
  return {row.text(0),    row.integer(1), row.text(2), row.integer(3), row.text(4),
          row.integer(5), row.text(6),    row.text(7), row.text(8),    row.text(9)};
}

const std::string& chainStart() {
  static const std::string kStart(64, '0');
  return kStart;
}

std::string eventHash(const ChainedEvent& event, const std::string& key) {
  std::string bytes;
  add(bytes, event.prev_hash);
  add(bytes, event.debate_id);
  add(bytes, fmt::format("{}", event.seq));
  add(bytes, event.type);
  add(bytes, fmt::format("{}", event.round));
  add(bytes, event.agent);
  add(bytes, fmt::format("{}", event.at));
  add(bytes, event.payload);
  if (event.key_id.empty()) return crypto::sha256Hex(bytes);
  add(bytes, event.key_id);
  return toHex(crypto::hmacSha256(key, bytes));
}

std::optional<std::string> ChainWalk::key(const std::string& id) {
  const auto known = keys_.find(id);
  if (known != keys_.end()) return known->second;
  auto key = keyring_ == nullptr ? std::nullopt : keyring_->eventKey(id);
  if (!key && !unverified_) {
    unverified_ =
        keyring_ == nullptr
            ? Error(Code::CouldNotVerify, "not looked at: no encryption key is configured",
                    "set ARAGORA_ENCRYPTION_KEY")
            : Error(Code::CouldNotVerify, fmt::format("events are signed with key {}, which is not in the keyring", id),
                    "add that key to encryption.previous_keys");
  }
  return keys_[id] = std::move(key);
}

void ChainWalk::take(const ChainedEvent& event) {
  const bool first = event.debate_id != head_.debate_id;
  const auto damaged = [&](std::int64_t seq, std::string_view what) {
    return Error(Code::Damaged, fmt::format("debate {}: event {} {}", event.debate_id, seq, what), "restore a backup");
  };
  const auto expected = first ? 1 : head_.seq + 1;
  if (event.seq != expected) throw damaged(expected, "is missing");
  if (event.prev_hash != (first ? chainStart() : head_.hash))
    throw damaged(event.seq, "does not follow the one before");
  if (event.key_id.empty()) {
    if (!first && !head_.key_id.empty()) throw damaged(event.seq, "has no key, and the one before has one");
    if (eventHash(event, {}) != event.hash) throw damaged(event.seq, "was altered");
  } else if (const auto secret = key(event.key_id)) {
    if (!crypto::constantTimeEqual(eventHash(event, *secret), event.hash)) throw damaged(event.seq, "was altered");
  }
  head_ = event;
}

std::string chainSeal(const crypto::Keyring& keyring, const ChainedEvent& head) {
  return fmt::format("{}.{}", keyring.activeId(), sealOver(keyring.eventKey(), head));
}

std::optional<bool> sealHolds(const crypto::Keyring& keyring, std::string_view seal, const ChainedEvent& head) {
  const auto dot = seal.find('.');
  if (dot == std::string_view::npos) return false;
  const auto key = keyring.eventKey(seal.substr(0, dot));
  if (!key) return std::nullopt;
  return crypto::constantTimeEqual(sealOver(*key, head), seal.substr(dot + 1));
}

std::int64_t sealChains(database::Connection& connection, const crypto::Keyring& keyring, std::int64_t limit) {
  // What is sealed is still the head when it is; of two instances each seals what the other has not.
  const std::string_view locking = connection.engine() == database::Engine::Postgres ? " FOR UPDATE OF d" : "";
  const auto rows = connection.query(
      fmt::format("SELECT e.debate_id, e.seq, e.type, e.round, e.agent, e.at, e.payload, e.prev_hash, e.key_id, e.hash "
                  "FROM debates d JOIN debate_events e ON e.debate_id = d.id AND e.seq = d.last_seq "
                  "WHERE d.chain_seal IS NULL AND e.key_id = '' LIMIT $1{}",
                  locking),
      {limit});
  for (const auto& row : rows) {
    const auto head = toChained(row);
    connection.query("UPDATE debates SET chain_seal = $2 WHERE id = $1", {head.debate_id, chainSeal(keyring, head)});
  }
  return static_cast<std::int64_t>(rows.size());
}

}  // namespace aragora::store
