// Accepts connections and speaks HTTP/1.1 strictly (RFC 9112), over TLS or not, for a Site. Every I/O thread has its
// own SO_REUSEPORT acceptor for each address, and every connection lives in one thread. Deadlines are kept by a sweep
// once a second: 10 s for a handshake and for a whole head, 60 s for a body or a write, 75 s of idle keep-alive.
// Thread-safe.
#pragma once

#include "common/net/address.h"
#include "common/net/listen_address.h"
#include "daemon/edge/exchange.h"
#include "daemon/edge/io_threads.h"
#include "daemon/edge/local_socket.h"
#include "daemon/edge/worker_pool.h"

namespace aragora::edge {

class TlsContext;

// An address, what is spoken there and who answers.
struct Entrance {
  net::ListenAddress address;
  TlsContext* tls = nullptr;  // null: no TLS
  Site* site = nullptr;       // null: the listener's
  int inherited = -1;         // listens already, handed over by systemd: used instead of binding
};

struct ListenerOptions {
  std::vector<Entrance> entrances{{}};
  std::size_t max_connections = 12000;  // fewer when that many files cannot be open
  std::size_t most_of_one_address = 0;  // of them; 0: no limit. Some stay free whoever takes the others
  std::vector<net::Block> proxies;      // that stand for many clients
};

struct Shared;
class Door;

class Listener {
 public:
  // Binds; throws Error(CannotCreate) naming the address when it is taken. Everything it is given outlives it.
  Listener(const ListenerOptions& options, IoThreads& io, Site& site, WorkerPool& workers);
  ~Listener();

  void start();
  // Of the first entrance that is no local socket; 0 without one.
  std::uint16_t port() const { return port_; }
  // With the ports that the kernel chose.
  const std::vector<Entrance>& entrances() const;
  std::size_t connections() const;
  std::size_t mostConnections() const;
  // Since the last time: connections that were not taken in, idle ones that made room.
  std::uint64_t takeTurnedAway();
  std::uint64_t takeGivenUp();
  void trust(std::vector<net::Block> proxies);

  // Drain: no new connections, idle ones closed, answers carry Connection: close.
  void stopAccepting();
  // True when no request is left.
  bool waitUntilIdle(Deadline deadline);
  void closeAll();

 private:
  void bind(Entrance& entrance);
  void bindTcp(Entrance& entrance);
  void share(const Entrance& entrance, int descriptor);
  std::shared_ptr<Shared> shared_;            // with every connection
  std::vector<std::shared_ptr<Door>> doors_;  // with the connections that came through them
  std::vector<LocalSocket> local_sockets_;
  std::uint16_t port_ = 0;
};

}  // namespace aragora::edge
