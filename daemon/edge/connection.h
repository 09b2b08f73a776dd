// Private to daemon/edge: an I/O thread with its acceptor, and the connections that live in it. HTTP/1.1 as listener.h
// promises; deadlines are kept by a sweep once a second.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <unordered_set>

#include "daemon/edge/listener.h"
#include "daemon/ws/session.h"

namespace aragora::edge {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace bhttp = beast::http;

// What the connections of all I/O threads share.
struct Shared {
  const ListenerOptions& options;
  web::Guard& middleware;
  WorkerPool& workers;
  std::atomic<std::size_t> connections{0};
  std::atomic<std::size_t> busy{0};  // between a complete head and its answer
  std::atomic<bool> draining{false};
};

class Connection;

struct IoThread {
  IoThread(Shared& shared_state, ws::ShardServices services)
      : shared(shared_state), shard(context, services), acceptor(context), sweep_timer(context) {}
  Shared& shared;
  net::io_context context{1};
  ws::IoShard shard;
  net::ip::tcp::acceptor acceptor;
  net::steady_timer sweep_timer;
  std::unordered_set<Connection*> connections;
  std::thread thread;

  void accept();
  void sweep();
  void closeIdle();
};

// One client, from accept to close or to the WebSocket it becomes. Lives in its I/O thread, kept by its own operations.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(net::ip::tcp::socket socket, IoThread& io);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void readHead();

  // Called once a second in the connection's own thread.
  void checkDeadline(std::chrono::steady_clock::time_point now);

  bool idle() const { return state_ == State::Head && !head_started_ && buffer_.size() == 0 && !parser_->got_some(); }
  void close();

 private:
  enum class State { Head, Body, Working, Writing, Lingering };

  void setBusy(bool busy);
  void onHead(beast::error_code error);
  void readBody();
  void refuseMalformed(beast::error_code error);
  void refuse(int status, const std::string& reason);
  void dispatch();
  void respond(web::Response response);

  void linger();
  void discard();
  void upgrade();
  std::string webSocketToken() const;

  net::ip::tcp::socket socket_;
  IoThread& io_;
  std::string peer_;
  beast::flat_buffer buffer_;
  std::optional<bhttp::request_parser<bhttp::string_body>> parser_;
  web::Request request_;
  const web::Route* route_ = nullptr;
  web::Response response_;
  std::string head_;
  State state_ = State::Head;
  std::chrono::steady_clock::time_point deadline_;
  std::chrono::steady_clock::time_point started_;
  bool head_started_ = false;
  bool body_pending_ = false;
  bool served_any_ = false;
  bool counted_ = true;
  bool busy_ = false;
  std::array<char, 4096> discarded_{};
  std::size_t lingered_ = 0;
};

}  // namespace aragora::edge
