// Walks all events in order of debate and sequence, and each debate's summary with them: chains, seals, what the row
// says against what its events say. Reads in batches, since rows hold whole answers; one look an object.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "common/base/progress.h"
#include "common/crypto/keyring.h"
#include "common/database/database.h"
#include "common/store/event_chain.h"
#include "common/store/events.h"
#include "common/verify/result.h"
#include "common/verify/summaries.h"

namespace aragora::verify {

// What was walked, by debate.
struct Walked {
  store::ChainedEvent head;  // the last event, without its payload
  Promise promise;
};
using Heads = std::map<std::string, Walked>;

class Debates {
 public:
  // All outlive the object. No ring: whatever needs a key is Error(CouldNotVerify). `version` of the schema (restored
  // data may be older): from 4 on it knows the keys of chains, from 10 on what else was asked for. `progress` may be
  // null.
  Debates(database::Connection& connection, const crypto::Keyring* ring, std::int64_t version, Progress* progress)
      : connection_(connection), ring_(ring), keyed_(version >= 4), wishes_(version >= 10), progress_(progress) {}

  // Ends at the first debate that is wrong. Error(Damaged) from the walk, Error(CouldNotVerify) without a key.
  Result look();
  // After look() found nothing wrong: chains and summaries hold, but who wrote them cannot be told, and why.
  const std::optional<Error>& unverified() const { return unverified_; }
  // After look(), whatever it found: what the chains say, which hold.
  Heads takeHeads() { return std::move(heads_); }

 private:
  std::int64_t walkChains(store::ChainWalk& walk);
  std::optional<Result> wrongIn(const database::Row& row, bool all_sealed);
  std::optional<Result> eachDebate(const std::function<std::optional<Result>(const database::Row&)>& look);
  bool allSealed();
  bool sealed(const std::string& seal, const store::ChainedEvent& head) const;

  database::Connection& connection_;
  const crypto::Keyring* ring_;
  bool keyed_;
  bool wishes_;
  Progress* progress_;
  std::int64_t count_ = 0;     // debates
  std::int64_t unsealed_ = 0;  // chains
  std::optional<Error> unverified_;
  Heads heads_;
};

}  // namespace aragora::verify
