#include "daemon/edge/connection.h"
#include "daemon/edge/response_head.h"

namespace aragora::edge {

namespace {
constexpr auto kSweep = std::chrono::seconds(1);
constexpr auto kIntroduction = std::chrono::seconds(1);  // of who had just come when the drain began
constexpr auto kPauseAfterFailure = std::chrono::milliseconds(100);
constexpr std::size_t kShareThatLeaves = 32;
}  // namespace

Door::Door(IoThreads::Context& context, std::size_t thread, std::shared_ptr<Shared> shared)
    : context_(context),
      thread_(thread),
      shared_(std::move(shared)),
      sweep_timer_(context),
      introduction_timer_(context),
      farewells_(std::make_shared<Farewells>(shared_->farewells, shared_->most_farewells)) {}

net::ip::tcp::acceptor& Door::add(const Entrance& entrance) {
  gates_.push_back(std::make_unique<Gate>(context_, entrance));
  return gates_.back()->acceptor;
}

void Door::open() {
  for (auto& gate : gates_) accept(*gate);
  sweep();
}

void Door::accept(Gate& gate) {
  gate.acceptor.async_accept([self = shared_from_this(), &gate](beast::error_code error, net::ip::tcp::socket socket) {
    if (self->ended_ || (error && self->closed_)) return;
    if (!error && self->closed_) return self->welcome(std::move(socket), gate.entrance);
    if (error == net::error::operation_aborted) return;
    if (!error) {
      self->accept(gate);  // first: what a welcome throws ends the one who came, not the door
      return self->welcome(std::move(socket), gate.entrance);
    }
    // Out of descriptors, most likely: take a breath instead of spinning.
    gate.pause.expires_after(kPauseAfterFailure);
    gate.pause.async_wait([self, &gate](beast::error_code ended) {
      if (!ended && !self->closed_) self->accept(gate);
    });
  });
}

void Door::welcome(net::ip::tcp::socket socket, const Entrance& entrance) {
  auto peer = peerOf(socket);
  auto entered = shared_->occupancy->enter(peer);
  if (entered.crowded == Crowded::AllTaken && makeRoom()) entered = shared_->occupancy->enter(peer);
  if (!entered.place) return turnAway(std::move(socket), entrance, peer, entered.crowded);
  std::shared_ptr<TlsSession> tls;  // shared with operations of the stream
  if (entrance.tls != nullptr) {
    beast::error_code failed;
    socket.native_non_blocking(true, failed);
    tls = entrance.tls->accept(socket.native_handle());
  }
  const auto connection = std::make_shared<Connection>(Stream(std::move(socket), std::move(tls)), shared_from_this(),
                                                       *entrance.site, std::move(peer), std::move(entered.place));
  connection->start();
  if (closed_) connection->drain();
}

// Those that have been silent for longest make room: a share of them at once, so that a crowd at the door does not have
// them all looked at for each of its own.
bool Door::makeRoom() {
  const auto now = std::chrono::steady_clock::now();
  std::vector<std::pair<std::chrono::steady_clock::time_point, Connection*>> silent;
  for (auto* connection : connections_) {
    if (const auto from = connection->makesRoomFrom(); from < now) silent.emplace_back(from, connection);
  }
  if (silent.empty()) return false;
  const auto some = silent.begin() + static_cast<std::ptrdiff_t>(1 + silent.size() / kShareThatLeaves);
  std::nth_element(silent.begin(), some - 1, silent.end());
  for (auto one = silent.begin(); one != some; ++one) one->second->giveUp();
  shared_->idle_given_up += static_cast<std::uint64_t>(some - silent.begin());
  return true;
}

// Says why, where that needs no handshake.
void Door::turnAway(net::ip::tcp::socket socket, const Entrance& entrance, const std::string& peer, Crowded crowded) {
  ++shared_->turned_away;
  if (entrance.tls != nullptr) return;
  Request request;
  request.peer = peer;
  const auto exchange = entrance.site->open(std::move(request));
  auto response =
      exchange->refuse(crowded == Crowded::ByThisAddress ? Refusal{429, "too many connections from this address"}
                                                         : Refusal{503, "too many connections"});
  exchange->finish(response, {});
  std::string answer;
  writeResponseHead(answer, response, false);
  answer += response.content();
  farewells_->bid(std::move(socket), answer);
}

void Door::sweep() {
  sweep_timer_.expires_after(kSweep);
  sweep_timer_.async_wait([self = shared_from_this()](beast::error_code error) {
    if (error) return;
    self->sweep();  // first: whatever this one throws, there is a next one
    const auto now = std::chrono::steady_clock::now();
    self->shared_->workers.turnAwayLate();
    // A copy: a closed connection leaves the set while it is walked.
    const std::vector<Connection*> all(self->connections_.begin(), self->connections_.end());
    for (auto* connection : all) connection->checkDeadline(now);
  });
}

void Door::stopAccepting() {
  beast::error_code ignored;
  closed_ = true;
  for (auto& gate : gates_) {
    gate->acceptor.close(ignored);
    gate->pause.cancel();
  }
}

void Door::closeIdle() {
  stopAccepting();
  const std::vector<Connection*> all(connections_.begin(), connections_.end());
  for (auto* connection : all) connection->drain();
  introduction_timer_.expires_after(kIntroduction);
  introduction_timer_.async_wait([self = shared_from_this()](beast::error_code error) {
    if (error) return;
    const std::vector<Connection*> left(self->connections_.begin(), self->connections_.end());
    for (auto* connection : left) {
      if (connection->silentNewcomer()) connection->close();
    }
  });
}

void Door::closeAll() {
  stopAccepting();
  ended_ = true;
  sweep_timer_.cancel();
  introduction_timer_.cancel();
  const std::vector<Connection*> all(connections_.begin(), connections_.end());
  for (auto* connection : all) connection->close();
  farewells_->closeAll();
}

}  // namespace aragora::edge
