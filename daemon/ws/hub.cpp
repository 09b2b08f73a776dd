#include "daemon/ws/hub.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "daemon/edge/upgrade.h"
#include "daemon/web/errors.h"
#include "daemon/ws/handshake.h"
#include "daemon/ws/session.h"
#include "daemon/ws/shard.h"

namespace aragora::ws {

void Watched::add(const std::string& debate_id) {
  {
    const std::lock_guard lock(mutex_);
    if (++count_[debate_id] > 1) return;
  }
  if (first_) first_(debate_id);
}

void Watched::remove(const std::string& debate_id) {
  const std::lock_guard lock(mutex_);
  const auto found = count_.find(debate_id);
  if (found != count_.end() && --found->second == 0) count_.erase(found);
}

bool Watched::any(const std::string& debate_id) const {
  const std::lock_guard lock(mutex_);
  return count_.count(debate_id) > 0;
}

std::vector<std::string> Watched::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> ids;
  ids.reserve(count_.size());
  for (const auto& [id, count] : count_) ids.push_back(id);
  return ids;
}

Hub::Hub(HubOptions options, HubServices services, edge::IoThreads& io)
    : options_(options),
      callers_(std::make_shared<Callers>(services.authenticator,
                                         [this](const std::set<Credential>& gone) {
                                           for (const auto& shard : shards_) shard->end(gone);
                                         })),
      watched_(std::make_shared<Watched>()),
      heard_(std::make_shared<Watched>(services.listened)) {
  services.callers = callers_;
  services.place_of = [places = places_, most = options.sockets_per_account](const accounts::Principal& principal) {
    return enterAccount(places, principal, most);
  };
  for (std::size_t i = 0; i < io.size(); ++i) {
    shards_.push_back(std::make_shared<Shard>(io.context(i), options, services, watched_, heard_));
    shards_.back()->start();
  }
}

Hub::~Hub() { callers_->stop(); }

void Hub::start() { callers_->start(); }

void Hub::addRoute(web::Router& router) {
  router.add({.method = "GET",
              .pattern = "/ws",
              .permission = accounts::Permission::ReadDebates,
              .handler = [this](const web::Request& request) { return open(request); },
              .query = {"debate_id", "since", "token", "ticket", "deltas"},
              .inline_handler = true,
              .strictly = web::Bucket::Handshakes,
              .credentials_later = true});
}

web::Response Hub::open(const web::Request& request) {
  if (!asksForWebSocket(request)) return upgradeRequired(request);
  Opening opening;
  opening.debate_id = request.text("debate_id");
  if (opening.debate_id.size() > kLongestId)
    throw Error(Code::Validation, fmt::format("debate_id is longer than {}", counted(kLongestId, "character")));
  opening.since = request.integer("since", 0, 0, INT64_MAX);
  const auto deltas = parseDeltas(request.text("deltas"));
  if (!deltas)
    throw Error(Code::Validation, "deltas is not one of agent, tokens, none", "see GET /ws in /api/openapi.json");
  opening.deltas = *deltas;
  opening.principal = request.principal;
  opening.address = request.client_address;
  opening.request_id = request.request_id;
  opening.protocol = chosenProtocol(request.list("sec-websocket-protocol"));
  opening.by_address = enter(places_, web::networkKey(request.client_address), options_.sockets_per_address);
  if (!opening.by_address)
    return web::refusalResponse(
        {429, fmt::format("more than {} open from this address", counted(options_.sockets_per_address, "WebSocket"))},
        request.request_id);
  opening.by_account = enterAccount(places_, request.principal, options_.sockets_per_account);
  if (!opening.by_account)
    return web::refusalResponse(
        {429, fmt::format("more than {} open for this account", counted(options_.sockets_per_account, "WebSocket"))},
        request.request_id);
  web::Response response;
  response.status = 101;
  response.upgrade = [this, opening = std::move(opening)](edge::Upgraded&& upgraded) {
    startSession(std::move(upgraded), shards_.at(upgraded.thread), opening);
  };
  return response;
}

// Others than users are not counted by account.
std::shared_ptr<void> Hub::enterAccount(const std::shared_ptr<Places>& places, const accounts::Principal& principal,
                                        std::size_t most) {
  if (principal.caller != accounts::Caller::User) most = 0;
  return enter(places, web::digestKey({principal.name()}), most);
}

std::shared_ptr<void> Hub::enter(const std::shared_ptr<Places>& places, const web::LimitKey& key, std::size_t most) {
  const std::string name(reinterpret_cast<const char*>(key.words.data()), sizeof key.words);
  const std::lock_guard lock(places->mutex);
  auto& taken = places->taken[name];
  if (most > 0 && taken >= most) return nullptr;
  ++taken;
  return {reinterpret_cast<void*>(1), [places, name](void*) {
            const std::lock_guard leaving(places->mutex);
            const auto found = places->taken.find(name);
            if (found != places->taken.end() && --found->second == 0) places->taken.erase(found);
          }};
}

void Hub::publish(const store::Event& event) {
  if (!watched_->any(event.debate_id)) return;
  const auto frame = makeFrame(event);
  for (const auto& shard : shards_) shard->deliver(frame);
}

void Hub::speak(const wire::Delta& delta) {
  if (!heard_->any(delta.debate_id)) return;
  for (const auto& shard : shards_) shard->speak(delta);
}

std::size_t Hub::clients() const {
  std::size_t total = 0;
  for (const auto& shard : shards_) total += shard->clients();
  return total;
}

void Hub::closeAll() {
  callers_->stop();
  for (const auto& shard : shards_) shard->closeAll();
}

void Hub::dropAll() {
  for (const auto& shard : shards_) shard->dropAll();
}

}  // namespace aragora::ws
