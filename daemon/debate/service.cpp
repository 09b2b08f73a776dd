#include "daemon/debate/service.h"

#include "common/audit/audit.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::debate {

namespace {
constexpr std::size_t kLongestId = 128;

audit::Entry entryOf(const Caller& caller, std::string action, const std::string& debate_id) {
  return {fmt::format("api:{}", caller.principal),
          std::move(action),
          fmt::format("debate:{}", debate_id),
          "success",
          caller.address,
          caller.request_id,
          caller.key.empty() ? json::object() : json::object{{"key", caller.key}}};
}

std::int64_t seedOf(const std::string& id) {
  std::int64_t seed = 0;
  for (const char byte : crypto::sha256(id).substr(0, 6)) seed = seed << 8 | static_cast<unsigned char>(byte);
  return seed;
}
}  // namespace

Service::Created Service::create(store::Debate draft, const Caller& caller, const Answering& answering,
                                 const std::optional<IdempotencyKey>& idempotency) {
  draft.id = newUlid();
  draft.created_at = nowMicros();
  draft.status = store::DebateStatus::Created;
  draft.seed = seedOf(draft.id);
  draft.owner = caller.principal;
  Created created{answering(draft), false};
  std::optional<store::Debates::Idempotency> key;
  if (idempotency)
    key = store::Debates::Idempotency{caller.principal, idempotency->key, idempotency->fingerprint, created.answer};
  auto replay = creations_.create(draft, key, entryOf(caller, "debate.create", draft.id), caller.quota);
  if (replay) {
    if (replay->fingerprint != idempotency->fingerprint)
      throw Error(Code::Unprocessable, "this Idempotency-Key was used with another body",
                  "use a new key for a new request");
    return {std::move(replay->response), true};
  }
  parts_.engine.wake();
  parts_.changed(Change::Created, draft.id);
  return created;
}

store::Debate Service::cancel(const std::string& id, const Caller& caller) {
  auto debate = requireToChange(id, caller);
  if (debate.finished())
    throw Error(Code::Conflict, fmt::format("the debate has ended as {}", store::name(debate.status)));
  parts_.database.write([&](database::Connection& connection) {
    store::Debates::requestCancel(connection, debate.id);
    audit::append(connection, parts_.keyring, entryOf(caller, "debate.cancel", debate.id));
  });
  parts_.engine.cancel(debate.id);
  parts_.engine.wake();
  parts_.changed(Change::CancelRequested, debate.id);
  return debate;
}

store::Debate Service::describe(const std::string& id, const Caller& caller,
                                const std::function<std::string(const store::Debate&)>& change) {
  auto debate = requireToChange(id, caller);
  parts_.database.write([&](database::Connection& connection) {
    const auto metadata = store::Debates::lockMetadata(connection, debate.id);
    if (!metadata) throw Error(Code::NotFound, fmt::format("Debate not found: {}", debate.id));
    debate.metadata = *metadata;
    debate.metadata = change(debate);
    store::Debates::setMetadata(connection, debate.id, debate.metadata);
    audit::append(connection, parts_.keyring, entryOf(caller, "debate.update", debate.id));
  });
  parts_.changed(Change::Described, debate.id);
  return debate;
}

store::Debate Service::requireToChange(const std::string& id, const Caller& caller) {
  auto debate = require(id);
  if (caller.only_own && debate.owner != caller.principal)
    throw Error(Code::Forbidden, "this debate is somebody else's", "its owner or an administrator can do that");
  return debate;
}

std::optional<store::Debate> Service::find(const std::string& id) {
  return id.size() <= kLongestId ? parts_.debates.find(id) : std::nullopt;
}

store::Debate Service::require(const std::string& id) {
  auto debate = find(id);
  if (!debate) throw Error(Code::NotFound, fmt::format("Debate not found: {}", printable(id, kLongestId)));
  return std::move(*debate);
}

}  // namespace aragora::debate
