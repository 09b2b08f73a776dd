#include "daemon/debate/old_chains.h"

#include "common/audit/audit.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/store/event_chain.h"
#include "common/store/settings.h"

namespace aragora::debate {

void sealOldChains(database::Database& database, const crypto::Keyring& keyring,
                   const std::function<void()>& after_each) {
  constexpr std::int64_t kBatch = 2000;
  if (database.reading([](database::Connection& connection) {
        return store::readSetting(connection, store::kChainsSealed).has_value();
      }))
    return;
  std::int64_t total = 0;
  while (true) {
    const auto sealed = database.writing(
        [&](database::Connection& connection) { return store::sealChains(connection, keyring, kBatch); });
    total += sealed;
    after_each();
    if (sealed < kBatch) break;
  }
  database.write([&](database::Connection& connection) {
    store::settingOrInsert(connection, store::kChainsSealed, keyring.activeId());
    if (total > 0)
      audit::append(connection, keyring,
                    {"daemon", std::string(store::kSealAction), "events", "success", {}, {}, {{"chains", total}}});
  });
  if (total > 0) log::info("{} of events from an earlier version sealed", counted(total, "chain"));
}

}  // namespace aragora::debate
