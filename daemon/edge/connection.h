// Private to daemon/edge: a door (the acceptor of one I/O thread) and the connections that came through it. HTTP/1.1 as
// listener.h promises; deadlines are kept by a sweep once a second.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <unordered_set>

#include "daemon/edge/farewell.h"
#include "daemon/edge/listener.h"
#include "daemon/edge/occupancy.h"
#include "daemon/edge/stream.h"

namespace aragora::edge {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace bhttp = beast::http;

// What the connections of all doors share. Outlives them: every one of them holds it.
struct Shared {
  Shared(ListenerOptions given, WorkerPool& pool)
      : options(std::move(given)),
        workers(pool),
        occupancy(std::make_shared<Occupancy>(OccupancyOptions{connectionsThatFit(options.max_connections),
                                                               options.most_of_one_address, options.proxies})) {}
  ListenerOptions options;
  WorkerPool& workers;
  std::shared_ptr<Occupancy> occupancy;  // shared with the places of connections
  std::atomic<std::uint64_t> turned_away{0};
  std::atomic<std::size_t> farewells{0};  // that are turned away and not gone yet
  const std::size_t most_farewells = farewellsThatFit();
  std::atomic<std::uint64_t> idle_given_up{0};
  std::atomic<std::size_t> busy{0};  // between a complete head and its answer; while draining, newcomers too
  std::atomic<bool> draining{false};
};

class Connection;

// Kept by the listener and by its connections; everything but the constructor runs in its I/O thread.
class Door : public std::enable_shared_from_this<Door> {
 public:
  Door(IoThreads::Context& context, std::size_t thread, std::shared_ptr<Shared> shared);
  IoThreads::Context& context() { return context_; }
  std::size_t thread() const { return thread_; }
  const std::shared_ptr<Shared>& shared() const { return shared_; }

  // Before open(): the acceptor of another address, not bound yet. The entrance outlives the door.
  net::ip::tcp::acceptor& add(const Entrance& entrance);
  void open();
  // Takes nobody new. Who has been served and is silent goes; who has just come may still say what they want.
  void closeIdle();
  void closeAll();  // and end the sweep: the context has nothing more to do for this door
  void enter(Connection& connection) { connections_.insert(&connection); }
  void leave(Connection& connection) { connections_.erase(&connection); }

 private:
  struct Gate {
    Gate(IoThreads::Context& context, const Entrance& leads) : entrance(leads), acceptor(context), pause(context) {}
    const Entrance& entrance;
    net::ip::tcp::acceptor acceptor;
    net::steady_timer pause;
  };
  void accept(Gate& gate);
  void welcome(net::ip::tcp::socket socket, const Entrance& entrance);
  bool makeRoom();
  void turnAway(net::ip::tcp::socket socket, const Entrance& entrance, const std::string& peer, Crowded crowded);
  void sweep();
  void stopAccepting();

  IoThreads::Context& context_;
  std::size_t thread_;
  std::shared_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Gate>> gates_;
  net::steady_timer sweep_timer_;
  net::steady_timer introduction_timer_;
  bool closed_ = false;
  bool ended_ = false;
  std::unordered_set<Connection*> connections_;
  std::shared_ptr<Farewells> farewells_;  // shared with each of them
};

// Address of the other end; 127.0.0.1 for a local socket.
std::string peerOf(const net::ip::tcp::socket& socket);

// One client, from accept to close or to the WebSocket it becomes. Lives in its I/O thread, kept by its own operations
// alone: a worker hands the last reference back (see dispatch).
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Stream socket, std::shared_ptr<Door> door, Site& site, std::string peer, std::shared_ptr<void> place);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  // Called once a second.
  void checkDeadline(std::chrono::steady_clock::time_point now);
  bool idle() const { return state_ == State::Head && !head_started_ && buffer_.size() == 0; }
  // From when on it is given up for a newcomer where there is no room: one that is silent, or that takes its time to
  // say what it wants. Never while it is answered.
  std::chrono::steady_clock::time_point makesRoomFrom() const;
  void close();
  // While the daemon drains: its first request is waited for.
  void drain();
  // It has said nothing yet.
  bool silentNewcomer() const;
  // Its place is free at once, not when the last of its operations has ended.
  void giveUp();

 private:
  enum class State { Handshake, Head, Body, Working, Writing, Lingering };

  void setBusy(bool busy);
  void handshake();
  Request newRequest() const;
  void readHead();
  void readMoreOfHead();
  void parseHead();
  void onHead(const std::optional<Refusal>& raw_refusal);
  void askFirst();
  void onAdmitted();
  void readBody();
  void readMoreOfBody();
  void parseBody();
  void refuseMalformed(beast::error_code error);
  void misread(const Refusal& refusal);
  void refuse(const Refusal& refusal);
  void dispatch();
  void respond(Response response);
  void upgrade(Response& response);
  void linger();
  void discard();
  void discarded(beast::error_code error, std::size_t got);

  Stream socket_;
  std::shared_ptr<Door> door_;
  Shared& shared_;
  Site& site_;
  std::shared_ptr<void> place_;  // counts this connection; goes with the socket when that is upgraded
  std::string peer_;
  beast::flat_buffer buffer_;
  std::optional<bhttp::request_parser<bhttp::string_body>> parser_;
  std::optional<bhttp::request_header<>> before_trailers_;  // of a chunked request
  std::unique_ptr<Exchange> exchange_;
  Response response_;
  std::string head_;
  State state_ = State::Head;
  std::chrono::steady_clock::time_point deadline_;
  std::chrono::steady_clock::time_point started_;
  bool head_only_ = false;
  bool head_started_ = false;
  bool body_pending_ = false;
  bool served_any_ = false;
  bool busy_ = false;
  bool keep_alive_ = false;
  std::size_t lingered_ = 0;
};

}  // namespace aragora::edge
