#include "daemon/ws/echo.h"

#ifdef ARAGORA_TEST_ENDPOINTS

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "daemon/edge/upgrade.h"
#include "daemon/ws/handshake.h"

namespace aragora::ws {

namespace beast = boost::beast;
namespace websocket = beast::websocket;

namespace {
constexpr std::size_t kLongest = 64U << 20;  // the suites send 16 MiB

// Kept by its own operations.
class Echo : public std::enable_shared_from_this<Echo> {
 public:
  explicit Echo(edge::Upgraded&& upgraded) : stream_(std::move(upgraded.socket)), upgraded_(std::move(upgraded)) {}

  void start() {
    stream_.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
    stream_.read_message_max(kLongest);
    prepare(upgraded_);
    stream_.async_accept(upgraded_.request, [self = shared_from_this()](beast::error_code error) {
      if (!error) self->read();
    });
  }

 private:
  void read() {
    stream_.async_read(buffer_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (!error) self->answer();
    });
  }

  void answer() {
    stream_.text(stream_.got_text());
    stream_.async_write(buffer_.data(), [self = shared_from_this()](beast::error_code error, std::size_t) {
      self->buffer_.clear();
      if (!error) self->read();
    });
  }

  websocket::stream<edge::Stream> stream_;
  edge::Upgraded upgraded_;  // without its socket
  beast::flat_buffer buffer_;
};
}  // namespace

void addEchoRoute(web::Router& router) {
  router.add({.method = "GET",
              .pattern = "/ws/echo",
              .handler =
                  [](const web::Request& request) {
                    if (!asksForWebSocket(request)) return upgradeRequired(request);
                    web::Response response;
                    response.status = 101;
                    response.upgrade = [](edge::Upgraded&& upgraded) {
                      std::make_shared<Echo>(std::move(upgraded))->start();
                    };
                    return response;
                  },
              .inline_handler = true,
              .counted = false,
              .described = false});
}

}  // namespace aragora::ws

#endif
