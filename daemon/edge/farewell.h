// Private to daemon/edge: a client that is not taken in. It was told why, and its socket stays for a moment in which
// what it still sends is read and thrown away: a socket that is closed with unread input sends a reset, which may reach
// the client before the answer does. A second at most, 64 KiB at most, and only so many at once: where there are more,
// the one that has been there for longest leaves. Lives in its door's I/O thread, kept by its own operations.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <atomic>
#include <list>
#include <memory>

#include "daemon/edge/io_threads.h"

namespace aragora::edge {

class Farewell;

// Of one door; ends with it. `all` counts those of every door and outlives them.
class Farewells : public std::enable_shared_from_this<Farewells> {
 public:
  Farewells(std::atomic<std::size_t>& all, std::size_t most) : all_(all), most_(most) {}
  // Says it, and lets the client go in its own time.
  void bid(boost::asio::ip::tcp::socket socket, const std::string& answer);
  void closeAll();

 private:
  friend class Farewell;
  std::atomic<std::size_t>& all_;
  std::size_t most_;
  std::list<Farewell*> staying_;  // the oldest first
};

// How many may stay at once: a part of the files that are kept for work.
std::size_t farewellsThatFit();

}  // namespace aragora::edge
