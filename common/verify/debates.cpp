#include "common/verify/debates.h"

#include "common/base/text.h"
#include "common/store/settings.h"

namespace aragora::verify {

namespace {
std::string summaryWrong(const database::Row& row, const store::ChainedEvent& head) {
  if (head.seq != row.integer(1))
    return fmt::format("debate {}: the summary says {} events, there are {}", row.text(0), row.text(1), head.seq);
  const auto status = store::parseDebateStatus(row.text(2));
  if ((status && store::isFinal(*status)) != (head.type == store::eventName<store::DebateEnded>()))
    return fmt::format("debate {}: the summary says {}, its last event is {}", row.text(0), row.text(2), head.type);
  return {};
}
}  // namespace

Result Debates::look() {
  if (progress_ != nullptr) {
    const auto all = connection_.query("SELECT count(*) FROM debate_events", {})[0].integer(0);
    progress_->begin({.what = "looking at events", .total = static_cast<std::uint64_t>(all), .noun = "event"});
  }
  store::ChainWalk walk(ring_);
  const auto events = walkChains(walk);
  const bool all_sealed = keyed_ && allSealed();
  if (auto wrong = eachDebate([&](const database::Row& row) { return wrongIn(row, all_sealed); }))
    return std::move(*wrong);
  // The chains and summaries hold; only who wrote them cannot be told, and restored data came signed.
  if (walk.unverified()) unverified_ = *walk.unverified();
  return {true,
          fmt::format("{} of {}, chains and summaries hold{}", counted(events, "event"), counted(count_, "debate"),
                      unsealed_ == 0 ? ""
                                     : fmt::format("; {} without a key, sealed by the next start of the daemon",
                                                   counted(unsealed_, "chain")))};
}

std::int64_t Debates::walkChains(store::ChainWalk& walk) {
  constexpr std::int64_t kBatch = 2000;
  std::int64_t count = 0;
  while (true) {
    const auto rows = connection_.query(
        fmt::format("SELECT {} FROM debate_events WHERE (debate_id, seq) > ($1, $2) ORDER BY debate_id, seq LIMIT $3",
                    keyed_ ? std::string(store::kChainedColumns)
                           : replaceAll(std::string(store::kChainedColumns), "key_id", "'' AS key_id")),
        {walk.head().debate_id, walk.head().seq, kBatch});
    for (const auto& row : rows) {
      walk.take(store::toChained(row));
      auto& walked = heads_[walk.head().debate_id];
      walked.promise.take(walk.head());
      walked.head = walk.head();
      walked.head.payload.clear();
    }
    count += static_cast<std::int64_t>(rows.size());
    add(progress_, rows.size());
    if (rows.size() < static_cast<std::size_t>(kBatch)) return count;
  }
}

std::optional<Result> Debates::eachDebate(const std::function<std::optional<Result>(const database::Row&)>& look) {
  constexpr std::int64_t kBatch = 500;
  std::string last;
  while (true) {
    const auto rows = connection_.query(
        fmt::format("SELECT id, last_seq, status, {}, {}, {} FROM debates WHERE id > $1 ORDER BY id LIMIT $2",
                    keyed_ ? "chain_seal" : "NULL", kSummaryColumns, wishes_ ? kWishColumns : kNoWishes),
        {last, kBatch});
    for (const auto& row : rows) {
      ++count_;
      if (auto wrong = look(row)) return wrong;
    }
    if (rows.size() < static_cast<std::size_t>(kBatch)) return std::nullopt;
    last = rows.back().text(0);
  }
}

std::optional<Result> Debates::wrongIn(const database::Row& row, bool all_sealed) {
  const auto found = heads_.find(row.text(0));
  if (found == heads_.end()) return bad(fmt::format("debate {} has no events", row.text(0)), "restore a backup");
  const auto& [head, promise] = found->second;
  if (const auto wrong = summaryWrong(row, head); !wrong.empty()) return bad(wrong);
  if (const auto wrong = promise.wrongIn(row, 4); !wrong.empty())
    return bad(fmt::format("debate {}: its row says otherwise than its events {}", row.text(0), wrong),
               "somebody changed it; compare with a backup");
  if (!head.key_id.empty()) return std::nullopt;
  if (row.isNull(3) && !all_sealed)
    ++unsealed_;
  else if (!sealed(row.text(3), head))
    return bad(fmt::format("debate {}: its chain has no key and not the seal it was given", row.text(0)),
               "somebody made it anew; restore a backup");
  return std::nullopt;
}

// Chains from before there were keys were all sealed once; from then on one without a seal was made anew.
bool Debates::allSealed() {
  return store::readSetting(connection_, store::kChainsSealed).has_value() ||
         !connection_.query("SELECT 1 FROM audit_log WHERE action = $1 LIMIT 1", {std::string(store::kSealAction)})
              .empty();
}

bool Debates::sealed(const std::string& seal, const store::ChainedEvent& head) const {
  if (seal.empty()) return false;
  const auto holds = store::sealHolds(neededKeyring(ring_), seal, head);
  if (!holds)
    throw Error(Code::CouldNotVerify, "the chains of old debates are sealed with a key that is not in the keyring",
                "add that key to encryption.previous_keys");
  return *holds;
}

}  // namespace aragora::verify
