#include "daemon/replay.h"

#include "common/store/event_chain.h"
#include "daemon/debate/replay.h"

namespace aragora::daemon {

namespace {
void walkChain(database::Database& database, const crypto::Keyring& keyring, const std::string& id) {
  store::ChainWalk walk(&keyring);
  const auto rows = database.query(
      fmt::format("SELECT {} FROM debate_events WHERE debate_id = $1 ORDER BY seq", store::kChainedColumns), {id});
  for (const auto& row : rows) walk.take(store::toChained(row));
  if (walk.unverified()) throw *walk.unverified();
}
}  // namespace

Replayed replayDebate(database::Database& database, const crypto::Keyring& keyring, const std::string& id) {
  store::Debates debates(database, keyring);
  auto replay = debate::replay(debates, id);
  walkChain(database, keyring, debates.find(id).value().id);
  return {replay.questions, replay.events, replay.outside, replay.whole, std::move(replay.differences)};
}

}  // namespace aragora::daemon
