// Accepts connections and speaks HTTP/1.1 strictly (RFC 9112) and hands /ws to the WebSocket shards. One I/O context a
// thread, each with its own SO_REUSEPORT acceptor; every connection lives in one thread. Deadlines are kept by a sweep
// once a second: 10 s for a whole head, 60 s for a body or a write, 75 s of idle keep-alive.
#pragma once

#include <memory>

#include "common/base/clock.h"
#include "daemon/edge/worker_pool.h"
#include "daemon/web/guard.h"
#include "daemon/ws/hub.h"

namespace aragora::edge {

struct ListenerOptions {
  std::string bind_host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::size_t threads = 2;
  std::size_t max_connections = 12000;
  std::vector<int> inherited_sockets;  // from systemd; used instead of binding
};

class Listener {
 public:
  // Binds; throws Error(CannotCreate) naming the address when it is taken.
  Listener(const ListenerOptions& options, web::Guard& middleware, WorkerPool& workers, ws::Hub& hub,
           store::Debates& debates, metrics::Registry& metrics, std::function<std::size_t()> active_debates);
  ~Listener();

  void start();
  std::uint16_t port() const;
  std::size_t connections() const;
  // Every I/O thread took a task within the deadline: what the watchdog wants to know.
  bool responsive(std::chrono::milliseconds within);

  // Drain: no new connections, idle ones closed, answers carry Connection: close. True when no request is left.
  void stopAccepting();
  bool waitUntilIdle(Deadline deadline);
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace aragora::edge
