#include "common/verify/receipts.h"

#include <map>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/curve.h"
#include "common/receipts/canonical.h"
#include "common/store/id_list.h"
#include "common/store/receipts.h"
#include "common/store/settings.h"
#include "common/store/states.h"

namespace aragora::verify {

namespace {
using database::Connection;

constexpr std::int64_t kBatch = 100;
constexpr const char* kCompare = "somebody changed it; compare with a backup";

Error wrong(const std::string& what, const char* hint = kCompare) { return {Code::Damaged, what, hint}; }

// What of a receipt does not follow from its debate, as a path; empty: all does.
std::string differing(const json::object& receipt, const json::object& made) {
  for (const auto& member : made) {
    const auto* stated = receipt.if_contains(member.key());
    if (stated == nullptr) return std::string(member.key());
    if (*stated == member.value()) continue;
    const auto* list = stated->if_array();
    const auto* other = member.value().if_array();
    if (list == nullptr || other == nullptr) return std::string(member.key());
    std::size_t at = 0;
    while (at < std::min(list->size(), other->size()) && (*list)[at] == (*other)[at]) ++at;
    return fmt::format("{}/{}", std::string_view(member.key()), at);
  }
  return {};
}

class Look {
 public:
  Look(Connection& connection, const crypto::Keyring* keyring, Progress* progress)
      : connection_(connection), keyring_(keyring), progress_(progress) {}

  std::string run() {
    origin_ = store::receiptOrigin(connection_);
    const auto all = connection_.query("SELECT count(*) FROM receipts", {})[0].integer(0);
    if (origin_.empty()) {
      if (all > 0) throw wrong("there are receipts and no log");
      return "none yet";
    }
    if (progress_ != nullptr)
      progress_->begin({.what = "looking at receipts", .total = static_cast<std::uint64_t>(all), .noun = "receipt"});
    keys();
    while (batch()) {
    }
    head();
    withoutReceipt();
    if (keyring_ == nullptr)
      throw Error(Code::CouldNotVerify,
                  fmt::format("{} under the keys that are stored; whose those are was not looked at: no encryption key "
                              "is configured",
                              held()),
                  "set ARAGORA_ENCRYPTION_KEY");
    return fmt::format("{}, {} compared with their debates, {} erased{}", held(), compared_, size_ - compared_,
                       size_ == 0 ? "" : ", root " + toHex(root()).substr(0, 16));
  }

 private:
  std::string held() const { return fmt::format("{} {}", counted(size_, "receipt"), agreeing(size_, "holds", "hold")); }

  receipts::Hash root() const {
    return receipts::rootOf(size_, [this](std::int64_t level, std::int64_t) { return peaks_.at(level); });
  }

  void keys() {
    std::int64_t number = 0;
    std::string before;
    for (const auto& key : store::receiptKeys(connection_)) {
      if (key.number != ++number) throw wrong(fmt::format("key {} of the receipts is missing", number));
      if (key.key.bytes.size() != 32) throw wrong(fmt::format("key {} of the receipts is no key", number));
      if (keyring_ != nullptr &&
          crypto::ed25519PublicKey(keyring_->open(key.sealed_seed, key.context())) != key.key.bytes)
        throw wrong(fmt::format("key {} of the receipts is not the one that its seed makes", number));
      if (number > 1) rotation(key, before);
      before = key.key.bytes;
      keys_[key.key.id()] = key.key.bytes;
    }
    if (number == 0) throw wrong("the log of receipts has no key");
  }

  void rotation(const store::ReceiptKey& key, const std::string& before) const {
    const auto* rotation = key.rotation.if_object();
    const auto expected = receipts::canonical(receipts::makeRotation(origin_, before, key.key.bytes, key.created_at));
    const auto holds = [&](const char* name, const std::string& by) {
      const auto bytes = fromBase64(jsonTextOr(*rotation, name, ""));
      return bytes && crypto::ed25519Verify(by, expected, *bytes);
    };
    if (rotation == nullptr || receipts::canonical(rotation->at("statement")) != expected ||
        !holds("signed_by_previous", before) || !holds("signed_by_next", key.key.bytes))
      throw wrong(
          fmt::format("that key {} of the receipts follows key {} is not signed by both", key.number, key.number - 1));
  }

  bool batch() {
    const auto rows =
        connection_.query(fmt::format("SELECT {} FROM receipts WHERE log_index >= $1 ORDER BY log_index LIMIT $2",
                                      store::kReceiptColumns),
                          {size_, kBatch});
    std::vector<std::pair<store::Receipt, json::object>> read;
    std::vector<receipts::Node> nodes;
    for (const auto& row : rows) {
      auto receipt = store::toReceipt(row);
      auto document = one(receipt, nodes);
      read.emplace_back(std::move(receipt), std::move(document));
    }
    if (!nodes.empty()) compareNodes(nodes);
    if (!read.empty()) compareDebates(read);
    add(progress_, rows.size());
    return rows.size() == static_cast<std::size_t>(kBatch);
  }

  json::object one(const store::Receipt& receipt, std::vector<receipts::Node>& nodes) {
    const auto bad = [&](const std::string& what) {
      return wrong(fmt::format("receipt {} (debate {}): {}", receipt.index, printable(receipt.debate_id, 40), what));
    };
    if (receipt.index != size_) throw wrong(fmt::format("receipt {} is missing", size_));
    auto value = receipts::parseStrict(receipt.body, fmt::format("receipt {}", receipt.index));
    if (!value.is_object() || receipts::canonical(value) != receipt.body) throw bad("it is not in canonical form");
    auto& document = value.get_object();
    const auto leaf = receipts::leafHash(receipt.body);
    if (toHex(leaf) != receipt.leaf_hash) throw bad("it was altered: its leaf has another hash");
    const auto key = keys_.find(receipt.key_id);
    if (key == keys_.end()) throw bad(fmt::format("key {} is none of the log's", printable(receipt.key_id, 40)));
    const auto signature = fromBase64(receipt.signature);
    if (!signature || !crypto::ed25519Verify(key->second, receipt.body, *signature))
      throw bad("its signature does not hold");
    const auto* log = jsonObject(document, "log");
    const auto* debate = jsonObject(document, "debate");
    if (log == nullptr || jsonIntegerOr(*log, "index", -1) != size_ || jsonTextOr(*log, "origin", "") != origin_)
      throw bad("it was issued for another place in the log");
    if (jsonTextOr(*log, "previous", "") != toHex(previous_)) throw bad("it does not follow the one before");
    if (debate == nullptr || jsonTextOr(*debate, "id", "") != receipt.debate_id) throw bad("it is of another debate");
    for (auto& node :
         receipts::grow(size_, leaf, [this](std::int64_t level, std::int64_t) { return peaks_.at(level); })) {
      peaks_[node.level] = node.hash;
      if (node.level > 0) nodes.push_back(std::move(node));
    }
    previous_ = leaf;
    ++size_;
    return std::move(document);
  }

  void compareNodes(const std::vector<receipts::Node>& nodes) {
    std::map<std::int64_t, std::pair<std::int64_t, std::int64_t>> ranges;  // by level
    for (const auto& node : nodes) {
      const auto [place, first] = ranges.try_emplace(node.level, node.position, node.position);
      if (!first) place->second.second = node.position;
    }
    std::map<std::pair<std::int64_t, std::int64_t>, std::string> stored;
    for (const auto& range : ranges) {
      for (const auto& row : connection_.query(
               "SELECT position, hash FROM receipt_nodes WHERE level = $1 AND position >= $2 AND position <= $3",
               {range.first, range.second.first, range.second.second}))
        stored[{range.first, row.integer(0)}] = row.text(1);
    }
    for (const auto& node : nodes) {
      if (stored[{node.level, node.position}] != toHex(node.hash))
        throw wrong(fmt::format("the tree of receipts: node {} of level {} is {}", node.position, node.level,
                                stored[{node.level, node.position}].empty() ? "missing" : "not what its leaves give"));
    }
    nodes_ += static_cast<std::int64_t>(nodes.size());
  }

  struct Debate {
    std::string salt;
    std::string owner;
    std::string context;
    std::vector<receipts::EventRecord> events;
    std::string chain_head;
  };

  std::map<std::string, Debate> debatesOf(const std::vector<std::pair<store::Receipt, json::object>>& read) {
    std::vector<std::string> ids;
    ids.reserve(read.size());
    for (const auto& one : read) ids.push_back(one.first.debate_id);
    const auto list = store::listedIn(connection_.engine(), "$1");
    std::map<std::string, Debate> debates;
    for (const auto& row : connection_.query(
             fmt::format("SELECT d.id, s.salt, d.owner_id, d.context FROM debates d LEFT JOIN receipt_salts s ON "
                         "s.debate_id = d.id WHERE d.id IN ({})",
                         list),
             {join(ids, ",")}))
      debates[row.text(0)] = {row.text(1), row.text(2), row.text(3), {}, {}};
    for (const auto& row : connection_.query(
             fmt::format("SELECT debate_id, seq, type, round, agent, at, payload, hash FROM debate_events WHERE "
                         "debate_id IN ({}) ORDER BY debate_id, seq",
                         list),
             {join(ids, ",")})) {
      auto& debate = debates[row.text(0)];
      debate.events.push_back({row.integer(1), row.text(2), row.integer(3), row.text(4), row.integer(5), row.text(6)});
      debate.chain_head = row.text(7);
    }
    return debates;
  }

  void compareDebates(const std::vector<std::pair<store::Receipt, json::object>>& read) {
    const auto debates = debatesOf(read);
    for (const auto& one : read) {
      const auto& receipt = one.first;
      const auto& document = one.second;
      const auto found = debates.find(receipt.debate_id);
      if (found == debates.end()) continue;  // erased
      const auto& debate = found->second;
      const auto salt = fromHex(debate.salt);
      const auto bad = [&](const std::string& what) {
        return wrong(fmt::format("debate {} and its receipt {}: {}", receipt.debate_id, receipt.index, what));
      };
      if (!salt || salt->size() != 32) throw bad("the salt of its commitments is missing");
      const auto* chain = jsonObject(document, "chain");
      if (chain == nullptr || jsonTextOr(*chain, "head", "") != debate.chain_head)
        throw bad("the events are not those that were receipted");
      if (const auto part = differing(document, receipts::partsOf(debate.events, *salt)); !part.empty())
        throw bad(fmt::format("{} does not follow from the events", part));
      const auto* stated = jsonObject(document, "debate");
      for (const auto& [name, text] : {std::pair{"owner", &debate.owner}, std::pair{"context", &debate.context}}) {
        const auto* committed = jsonObject(*stated, name);
        if (committed == nullptr ||
            jsonTextOr(*committed, "commitment", "") != receipts::commitment(*salt, name, *text))
          throw bad(fmt::format("{} is not what was committed to", name));
      }
      ++compared_;
    }
  }

  void head() {
    const auto stated = connection_.query("SELECT size FROM receipt_log WHERE id = 1", {})[0].integer(0);
    if (stated != size_)
      throw wrong(fmt::format("the log of receipts says {} and has {}: its end was cut off", stated, size_));
    if (const auto stored = connection_.query("SELECT count(*) FROM receipt_nodes", {})[0].integer(0); stored != nodes_)
      throw wrong(fmt::format("the tree of receipts has {} nodes, {} follow from its leaves", stored, nodes_));
  }

  void withoutReceipt() {
    if (!store::readSetting(connection_, store::kReceiptsComplete)) return;  // the daemon is at it
    const auto rows = connection_.query(
        fmt::format("SELECT d.id FROM debates d LEFT JOIN receipts r ON r.debate_id = d.id WHERE d.status IN ({}) AND "
                    "r.debate_id IS NULL ORDER BY d.id LIMIT 1",
                    store::finalStatusesInSql()),
        {});
    if (!rows.empty())
      throw wrong(fmt::format("debate {} has ended and has no receipt", rows[0].text(0)),
                  "somebody removed it, or an instance of an earlier version ended it: then the next start issues it");
  }

  Connection& connection_;
  const crypto::Keyring* keyring_;
  Progress* progress_;
  std::string origin_;
  std::map<std::string, std::string> keys_;  // by id
  std::map<std::int64_t, receipts::Hash> peaks_;
  receipts::Hash previous_ = receipts::Hash(32, '\0');
  std::int64_t size_ = 0;
  std::int64_t nodes_ = 0;
  std::int64_t compared_ = 0;
};
}  // namespace

std::string receiptsHold(Connection& connection, const crypto::Keyring* keyring, Progress* progress) {
  return Look(connection, keyring, progress).run();
}

}  // namespace aragora::verify
