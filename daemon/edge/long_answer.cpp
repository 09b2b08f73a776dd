#include "daemon/edge/long_answer.h"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <deque>

#include "daemon/edge/response_head.h"
#include "daemon/edge/upgrade.h"

namespace aragora::edge {

namespace net = boost::asio;

namespace {
using Executor = Stream::executor_type;
constexpr std::size_t kMostWaiting = 1U << 20;
constexpr auto kRest = std::chrono::seconds(10);     // between signs of life
constexpr auto kSlowest = std::chrono::seconds(60);  // of one write
constexpr auto kLinger = std::chrono::seconds(2);

std::string chunk(const std::string& text) { return fmt::format("{:x}\r\n{}\r\n", text.size(), text); }
}  // namespace

// Lives in its I/O thread, kept by its read and its timer, which end when the socket is closed.
class LongAnswer::Line : public std::enable_shared_from_this<Line> {
 public:
  Line(Upgraded&& upgraded, std::function<void()> gone)
      : stream_(std::move(upgraded.socket)),
        chunked_(upgraded.request.version() >= 11),
        place_(std::move(upgraded.place)),
        headers_(std::move(upgraded.headers)),
        gone_(std::move(gone)),
        timer_(stream_.get_executor()) {}

  Executor executor() { return stream_.get_executor(); }

  void start() {
    watch();
    tick();
  }

  void answer(Response response) {
    if (ended_ || begun_) return;
    response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
    std::string head;
    writeResponseHead(head, response, false);
    begun_ = true;
    push(std::move(head) + std::string(response.content()));
    finish();
  }

  void begin(Response response, std::string rest) {
    if (ended_ || begun_) return;
    begun_ = true;
    rest_ = std::move(rest);
    response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
    std::string head;
    writeResponseHead(head, response, false, chunked_ ? Framing::Chunked : Framing::UntilClose);
    push(std::move(head));
  }

  void part(const std::string& text) {
    if (ended_ || !begun_ || text.empty()) return;
    push(chunked_ ? chunk(text) : text);
  }

  void end() {
    if (ended_) return;
    if (begun_ && chunked_) push("0\r\n\r\n");
    finish();
  }

  void drop() {
    ended_ = true;
    close();
  }

 private:
  void finish() {
    ended_ = true;
    if (!writing_) linger();
  }

  void push(std::string text) {
    if (waiting_ + text.size() > kMostWaiting) return leave();
    waiting_ += text.size();
    queue_.push_back(std::move(text));
    if (!writing_) write();
  }

  void write() {
    writing_ = true;
    since_ = Clock::now();
    net::async_write(stream_, net::buffer(queue_.front()),
                     [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                       self->writing_ = false;
                       if (error) return self->leave();
                       self->waiting_ -= self->queue_.front().size();
                       self->queue_.pop_front();
                       self->since_ = Clock::now();
                       if (!self->queue_.empty()) return self->write();
                       if (self->ended_) self->linger();
                     });
  }

  // The client has nothing more to say; what it sends nevertheless is not looked at.
  void watch() {
    stream_.async_read_some(net::buffer(ignored_),
                            [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                              if (!error) return self->watch();
                              self->leave();
                            });
  }

  void tick() {
    timer_.expires_after(kRest);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (error || self->closed_) return;
      if (self->writing_ && Clock::now() - self->since_ > kSlowest) return self->leave();
      if (!self->ended_ && self->begun_ && !self->writing_) self->part(self->rest_);
      self->tick();
    });
  }

  // Closing with unread input would send a reset, which may overtake the answer.
  void linger() {
    stream_.endSending();
    timer_.expires_after(kLinger);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->close();
    });
  }

  void leave() {
    const bool early = !std::exchange(ended_, true);
    close();
    if (early && gone_) std::exchange(gone_, nullptr)();
  }

  void close() {
    closed_ = true;
    timer_.cancel();
    boost::system::error_code ignored;
    stream_.close(ignored);
    place_.reset();
  }

  using Clock = std::chrono::steady_clock;
  Stream stream_;
  bool chunked_;
  std::shared_ptr<void> place_;  // counts this connection; shared with nobody
  std::vector<std::pair<std::string, std::string>> headers_;
  std::function<void()> gone_;
  net::steady_timer timer_;
  std::deque<std::string> queue_;
  std::size_t waiting_ = 0;
  std::string rest_;
  std::array<char, 1024> ignored_{};
  Clock::time_point since_ = Clock::now();
  bool begun_ = false;
  bool ended_ = false;
  bool writing_ = false;
  bool closed_ = false;
};

LongAnswer LongAnswer::take(Upgraded&& upgraded, std::function<void()> gone) {
  const auto line = std::make_shared<Line>(std::move(upgraded), std::move(gone));
  line->start();
  return LongAnswer(line, std::make_shared<Executor>(line->executor()));
}

// The line is looked up over there, so that nobody else ever holds the last reference to it.
void LongAnswer::tell(std::function<void(Line&)> what) const {
  net::post(*std::static_pointer_cast<Executor>(executor_), [line = line_, what = std::move(what)] {
    if (const auto there = line.lock()) what(*there);
  });
}

void LongAnswer::answer(Response response) const {
  tell([response = std::move(response)](Line& line) { line.answer(response); });
}
void LongAnswer::begin(Response head, std::string rest) const {
  tell([head = std::move(head), rest = std::move(rest)](Line& line) { line.begin(head, rest); });
}
void LongAnswer::part(std::string text) const {
  tell([text = std::move(text)](Line& line) { line.part(text); });
}
void LongAnswer::end() const {
  tell([](Line& line) { line.end(); });
}
void LongAnswer::drop() const {
  tell([](Line& line) { line.drop(); });
}

}  // namespace aragora::edge
