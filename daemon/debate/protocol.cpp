#include "daemon/debate/protocol.h"

#include "common/base/error.h"
#include "daemon/debate/deliberation.h"
#include "daemon/debate/first_protocol.h"

namespace aragora::debate {

bool beforeTheVote(store::Phase phase) {
  return phase == store::Phase::Propose || phase == store::Phase::Critique || phase == store::Phase::Revise;
}

std::unique_ptr<Protocol> makeProtocol(std::int64_t version, Setup setup) {
  if (version == 1) return std::make_unique<FirstProtocol>(std::move(setup));
  setup.protocol = version;
  if (version >= kDeliberation && version <= kContextForAll) return std::make_unique<Deliberation>(std::move(setup));
  throw Error(Code::Damaged, fmt::format("debates of protocol {} are unknown to this version", version),
              "it was created by a later one: upgrade, or go back the whole way");
}

}  // namespace aragora::debate
