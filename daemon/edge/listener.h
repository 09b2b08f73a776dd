// Accepts connections and speaks HTTP/1.1 strictly (RFC 9112) for a Site. Every I/O thread has its own SO_REUSEPORT
// acceptor, and every connection lives in one thread. Deadlines are kept by a sweep once a second: 10 s for a whole
// head, 60 s for a body or a write, 75 s of idle keep-alive. Thread-safe.
#pragma once

#include "daemon/edge/exchange.h"
#include "daemon/edge/io_threads.h"
#include "daemon/edge/worker_pool.h"

namespace aragora::edge {

struct ListenerOptions {
  std::string bind_host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::size_t max_connections = 12000;
  std::vector<int> inherited_sockets;  // from systemd; used instead of binding
};

struct Shared;
class Door;

class Listener {
 public:
  // Binds; throws Error(CannotCreate) naming the address when it is taken. Everything it is given outlives it.
  Listener(const ListenerOptions& options, IoThreads& io, Site& site, WorkerPool& workers);
  ~Listener();

  void start();
  std::uint16_t port() const { return port_; }
  std::size_t connections() const;

  // Drain: no new connections, idle ones closed, answers carry Connection: close.
  void stopAccepting();
  // True when no request is left.
  bool waitUntilIdle(Deadline deadline);
  void closeAll();

 private:
  void bind(const ListenerOptions& options);
  std::shared_ptr<Shared> shared_;            // with every connection
  std::vector<std::shared_ptr<Door>> doors_;  // with the connections that came through them
  std::uint16_t port_ = 0;
};

}  // namespace aragora::edge
