#include "daemon/ws/callers.h"

#include <pthread.h>

#include "common/base/log.h"

namespace aragora::ws {

namespace {
constexpr auto kEvery = std::chrono::milliseconds(1000);
}

Credential credentialOf(const accounts::Principal& caller) {
  if (caller.key) return {caller.key->id, 0};
  return caller.access ? Credential{caller.access->session, caller.access->token_version} : Credential{};
}

void Callers::start() {
  looked_ = Clock::now();
  thread_ = std::jthread([this] {
    ::pthread_setname_np(::pthread_self(), "callers");
    const interrupt::Minding minding(stopping_);
    auto next = Clock::now();
    do {
      next = std::max(Clock::now(), next + kEvery);  // a look that took its time is followed by the next one
      look();
    } while (!stopping_.waitFor(std::chrono::ceil<std::chrono::milliseconds>(std::max(next - Clock::now(), {}))));
  });
}

void Callers::stop() {
  stopping_.turn();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<void> Callers::enter(const accounts::Principal& caller) {
  auto credential = credentialOf(caller);
  if (credential.first.empty()) return nullptr;
  const std::lock_guard lock(mutex_);
  auto& shown = shown_[credential];
  if (shown.holders++ == 0) shown.caller = caller;
  return {reinterpret_cast<void*>(1),
          [self = shared_from_this(), credential = std::move(credential)](void*) { self->leave(credential); }};
}

void Callers::leave(const Credential& credential) {
  const std::lock_guard lock(mutex_);
  const auto found = shown_.find(credential);
  if (found != shown_.end() && --found->second.holders == 0) shown_.erase(found);
}

// The thread's catch-all: a database that is away is asked again with the next look.
void Callers::look() {
  const auto began = Clock::now();
  std::vector<accounts::Principal> callers;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [credential, shown] : shown_) callers.push_back(shown.caller);
  }
  try {
    const auto ended = callers.empty() ? std::vector<bool>() : authenticator_.ended(callers);
    std::set<Credential> gone;
    for (std::size_t i = 0; i < ended.size(); ++i) {
      if (ended[i]) gone.insert(credentialOf(callers[i]));
    }
    if (!gone.empty()) ended_(gone);
    looked_ = began;
  } catch (const std::exception& error) {
    log::debug("whether sessions of WebSockets have ended could not be asked: {}", error.what());
  }
}

}  // namespace aragora::ws
