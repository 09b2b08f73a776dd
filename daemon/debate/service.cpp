#include "daemon/debate/service.h"

#include "common/audit/audit.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/store/ratings.h"
#include "daemon/debate/protocol.h"

namespace aragora::debate {

namespace {
constexpr std::size_t kLongestId = 128;
constexpr std::int64_t kAudienceLimit = 32 * 1024;  // characters in one debate: agents read all of it, in every round

audit::Entry entryOf(const Caller& caller, std::string action, const std::string& debate_id,
                     json::object details = {}) {
  if (!caller.key.empty()) details["key"] = caller.key;
  return {fmt::format("api:{}", caller.principal),
          std::move(action),
          fmt::format("debate:{}", debate_id),
          "success",
          caller.address,
          caller.request_id,
          std::move(details)};
}

void requireSame(const store::Replay& replay, const Service::IdempotencyKey& key) {
  if (replay.fingerprint != key.fingerprint)
    throw Error(Code::Unprocessable, "this Idempotency-Key was used with another body",
                "use a new key for a new request");
}

// With what was just said.
void requireHeard(database::Connection& connection, const std::string& debate_id) {
  const auto said =
      connection.query("SELECT coalesce(sum(length(payload)), 0) FROM debate_events WHERE debate_id = $1 AND type = $2",
                       {debate_id, std::string(store::eventName<store::AudienceMessage>())});
  if (said.at(0).integer(0) > kAudienceLimit)
    throw Error(Code::Conflict, "the audience of this debate has said as much as agents can read",
                "fork it to go on with the question");
}

std::int64_t seedOf(const std::string& id) {
  std::int64_t seed = 0;
  for (const char byte : crypto::sha256(id).substr(0, 6)) seed = seed << 8 | static_cast<unsigned char>(byte);
  return seed;
}
}  // namespace

Service::Created Service::create(store::Debate draft, const Caller& caller, const Answering& answering,
                                 const std::optional<IdempotencyKey>& idempotency) {
  // What is pasted by mistake goes to no model, and into nothing that is kept for good.
  for (auto* text : {&draft.task, &draft.context}) *text = redactCredentials(*text);
  for (auto& document : draft.documents) document = redactCredentials(document);
  draft.id = newUlid();
  draft.created_at = nowMicros();
  draft.status = store::DebateStatus::Created;
  draft.protocol = kOfNewDebates;
  draft.seed = seedOf(draft.id);
  draft.owner = caller.principal;
  draft.key_id = caller.key;
  draft.request_id = caller.request_id;
  draft.config_hash = parts_.config_hash();
  Created created{answering(draft), false};
  std::optional<store::Debates::Idempotency> key;
  if (idempotency)
    key = store::Debates::Idempotency{caller.principal, idempotency->key, idempotency->fingerprint, created.answer};
  auto replay = creations_.create(draft, key, entryOf(caller, "debate.create", draft.id), caller.quota);
  if (replay) {
    requireSame(*replay, *idempotency);
    return {std::move(replay->response), true};
  }
  parts_.engine.wake();
  parts_.changed(Change::Created, draft.id);
  return created;
}

store::Debate Service::cancel(const std::string& id, const Caller& caller) {
  auto debate = requireToChange(id, caller);
  parts_.database.write([&](database::Connection& connection) {
    store::Debates::requestCancel(connection, debate.id);
    audit::append(connection, parts_.keyring, entryOf(caller, "debate.cancel", debate.id));
  });
  parts_.engine.cancel(debate.id);
  parts_.engine.wake();
  parts_.changed(Change::CancelRequested, debate.id);
  return debate;
}

store::Debate Service::rest(const std::string& id, const Caller& caller, bool rests) {
  auto debate = requireToChange(id, caller);
  parts_.database.write([&](database::Connection& connection) {
    store::Debates::requestPause(connection, debate.id, rests);
    audit::append(connection, parts_.keyring, entryOf(caller, rests ? "debate.pause" : "debate.resume", debate.id));
  });
  if (rests) parts_.engine.pause(debate.id);
  parts_.engine.wake();
  parts_.changed(Change::PauseRequested, debate.id);
  return debate;
}

store::Debate Service::pause(const std::string& id, const Caller& caller) { return rest(id, caller, true); }
store::Debate Service::resume(const std::string& id, const Caller& caller) { return rest(id, caller, false); }

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

Service::Created Service::say(const std::string& id, const Caller& caller, const std::string& content,
                              const AnsweringMessage& answering, const std::optional<IdempotencyKey>& idempotency) {
  const auto debate = requireToChange(id, caller);
  Created said;
  std::optional<store::Event> event;
  parts_.database.write([&](database::Connection& connection) {
    std::optional<store::Debates::Idempotency> key;
    if (idempotency) key = {caller.principal, idempotency->key, idempotency->fingerprint, ""};
    if (const auto replay = key ? store::Debates::takeKey(connection, *key, nowMicros()) : std::nullopt) {
      requireSame(*replay, *idempotency);
      said = {replay->response, true};
      return;
    }
    event = parts_.debates.addMessage(connection, debate.id, {caller.principal, redactCredentials(content)});
    requireHeard(connection, debate.id);
    said.answer = answering(*event);
    if (key) {
      key->response = said.answer;
      store::Debates::answerKey(connection, *key);
    }
    audit::append(connection, parts_.keyring, entryOf(caller, "debate.message", debate.id, {{"seq", event->seq}}));
  });
  if (event) parts_.publish(*event);
  return said;
}

Service::Removed Service::remove(const std::string& id, const Caller& caller, bool dry_run) {
  const auto debate = requireToChange(id, caller);
  if (dry_run) {
    if (!debate.finished())
      throw Error(Code::Conflict, fmt::format("the debate is {}", store::name(debate.status)),
                  "cancel it first and wait for its end");
    return {debate.id, debate.last_seq};
  }
  // Ratings follow from all matches: counted here, where nobody waits for it, as long as that is of use.
  constexpr int kOutside = 4;
  std::optional<store::Debates::Removed> gone;
  for (int attempt = 1; !gone; ++attempt) {
    auto without =
        attempt <= kOutside ? std::optional(store::Ratings::without(parts_.database, debate.id)) : std::nullopt;
    parts_.database.write([&](database::Connection& connection) {
      gone = store::Debates::remove(connection, debate.id, without ? &*without : nullptr);
      if (!gone) return;
      audit::append(
          connection, parts_.keyring,
          entryOf(caller, "debate.delete", debate.id, {{"events", gone->events}, {"last_hash", gone->last_hash}}));
    });
  }
  parts_.changed(Change::Removed, debate.id);
  return {debate.id, gone->events};
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
