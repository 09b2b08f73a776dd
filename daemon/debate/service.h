// What can be done with a debate, for whoever asks: the API, a WebSocket message, a console. Creating and cancelling
// are audited in the transaction that does them. Thread-safe.
#pragma once

#include "common/crypto/keyring.h"
#include "common/store/debates.h"
#include "daemon/debate/creations.h"
#include "daemon/debate/engine.h"

namespace aragora::debate {

// Who asks, as the audit log names it.
struct Caller {
  std::string principal;
  std::string address;
  std::string request_id;
  std::string key = {};   // the API key it was, for the audit log
  bool only_own = false;  // may change no debate of others
  Quota quota = {};
};

// What lists show afterwards is not what they showed.
enum class Change { Created, Described, CancelRequested, PauseRequested, Removed };

class Service {
 public:
  struct Parts {
    database::Database& database;
    store::Debates& debates;
    const crypto::Keyring& keyring;
    Engine& engine;
    // Before it is answered. In the thread of whoever asked, which it may make wait for a moment.
    std::function<void(Change change, const std::string& debate_id)> changed;
    std::function<void(const store::Event&)> publish;
    std::function<std::string()> config_hash = [] { return std::string(); };  // of the settings in effect
  };
  explicit Service(Parts parts)
      : parts_(std::move(parts)), creations_(parts_.database, parts_.debates, parts_.keyring) {}

  struct IdempotencyKey {
    std::string key;
    std::string fingerprint;  // of the request; another one under the same key is Error(Unprocessable)
  };
  using Answering = std::function<std::string(const store::Debate&)>;
  struct Created {
    std::string answer;  // what `answering` made, now or when the key was used first
    bool replayed = false;
  };
  // Of `draft` everything but id, seed, times, owner and status, which are given here. Durable when it returns.
  Created create(store::Debate draft, const Caller& caller, const Answering& answering,
                 const std::optional<IdempotencyKey>& idempotency = std::nullopt);
  // Ends it at its next step. Error(NotFound | Forbidden | Conflict).
  store::Debate cancel(const std::string& id, const Caller& caller);
  // Lets it rest at its next step, for as long as it takes; what is asked then is broken off and asked anew afterwards.
  // Error(NotFound | Forbidden | Conflict).
  store::Debate pause(const std::string& id, const Caller& caller);
  store::Debate resume(const std::string& id, const Caller& caller);
  // Replaces what clients say about it by what `change` makes of the row, which is locked. Error(NotFound).
  store::Debate describe(const std::string& id, const Caller& caller,
                         const std::function<std::string(const store::Debate&)>& change);
  // A message of the audience, heard by the agents from their next round on. Error(NotFound | Forbidden | Conflict).
  using AnsweringMessage = std::function<std::string(const store::Event&)>;
  Created say(const std::string& id, const Caller& caller, const std::string& content,
              const AnsweringMessage& answering, const std::optional<IdempotencyKey>& idempotency = std::nullopt);
  // Of a debate that has ended, with all that was said and its part in the ratings; for good. `dry_run` only looks.
  // Error(NotFound | Forbidden | Conflict).
  struct Removed {
    std::string id;
    std::int64_t events = 0;
  };
  Removed remove(const std::string& id, const Caller& caller, bool dry_run);
  // By id or slug.
  std::optional<store::Debate> find(const std::string& id);
  store::Debate require(const std::string& id);  // Error(NotFound)

 private:
  store::Debate rest(const std::string& id, const Caller& caller, bool rests);
  store::Debate requireToChange(const std::string& id, const Caller& caller);  // Error(NotFound | Forbidden)
  Parts parts_;
  Creations creations_;
};

}  // namespace aragora::debate
