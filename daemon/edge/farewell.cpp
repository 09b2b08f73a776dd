#include "daemon/edge/farewell.h"

#include <sys/resource.h>

#include <algorithm>

namespace aragora::edge {

namespace net = boost::asio;
using Failed = boost::system::error_code;

namespace {
constexpr auto kStay = std::chrono::seconds(1);
constexpr std::size_t kMostRead = 64 * 1024;
constexpr std::size_t kFewest = 16;
constexpr std::size_t kMost = 256;
constexpr rlim_t kShareOfFiles = 16;  // half of what connectionsThatFit() leaves free
}  // namespace

class Farewell : public std::enable_shared_from_this<Farewell> {
 public:
  Farewell(net::ip::tcp::socket socket, std::shared_ptr<Farewells> others)
      : socket_(std::move(socket)), timer_(socket_.get_executor()), others_(std::move(others)) {
    place_ = others_->staying_.insert(others_->staying_.end(), this);
    ++others_->all_;
  }

  void begin(const std::string& answer) {
    Failed ignored;
    socket_.non_blocking(true, ignored);
    socket_.write_some(net::buffer(answer), ignored);  // the first bytes of a connection fit
    socket_.shutdown(net::ip::tcp::socket::shutdown_send, ignored);
    timer_.expires_after(kStay);
    timer_.async_wait([self = shared_from_this()](Failed error) {
      if (!error) self->leave();
    });
    discard();
  }

  // The descriptor is free at once, the object goes when its operations have ended.
  void leave() {
    if (!socket_.is_open()) return;
    Failed ignored;
    socket_.close(ignored);
    timer_.cancel();
    others_->staying_.erase(place_);
    --others_->all_;
  }

 private:
  void discard() {
    socket_.async_read_some(net::buffer(unheard_), [self = shared_from_this()](Failed error, std::size_t got) {
      self->heard_ += got;
      if (error || self->heard_ >= kMostRead) return self->leave();
      self->discard();
    });
  }

  net::ip::tcp::socket socket_;
  net::steady_timer timer_;
  std::shared_ptr<Farewells> others_;  // shared with the door and the others
  std::list<Farewell*>::iterator place_;
  std::array<char, 4096> unheard_{};
  std::size_t heard_ = 0;
};

void Farewells::bid(net::ip::tcp::socket socket, const std::string& answer) {
  if (all_ >= most_ && !staying_.empty()) staying_.front()->leave();
  const auto farewell = std::make_shared<Farewell>(std::move(socket), shared_from_this());
  farewell->begin(answer);
  if (all_ > most_) farewell->leave();  // those who stay are other doors'
}

void Farewells::closeAll() {
  while (!staying_.empty()) staying_.front()->leave();
}

std::size_t farewellsThatFit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kMost;
  return std::clamp(static_cast<std::size_t>(limit.rlim_cur / kShareOfFiles), kFewest, kMost);
}

}  // namespace aragora::edge
