#include "daemon/edge/connection.h"

#include <netinet/tcp.h>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "common/base/text.h"
#include "daemon/edge/request_head.h"
#include "daemon/edge/response_head.h"
#include "daemon/edge/upgrade.h"

namespace aragora::edge {

using tcp = net::ip::tcp;
using SteadyTime = std::chrono::steady_clock::time_point;

namespace {
constexpr std::uint32_t kHeadLimit = 32 * 1024;
constexpr std::size_t kReadSize = 4 * 1024;
constexpr std::size_t kBodyReadSize = 64 * 1024;
constexpr std::size_t kChunkExtensionLimit = 256;
constexpr std::size_t kFramingLimit = 8 * 1024;  // of a chunked body: a chunk's head, or all trailers
constexpr std::size_t kLingerBytes = 64 * 1024;
constexpr auto kHeadTime = std::chrono::seconds(10);
constexpr auto kIdleTime = std::chrono::seconds(75);
constexpr auto kFreshTime = std::chrono::milliseconds(100);  // may just be about to say something
constexpr auto kIntroductionTime = std::chrono::seconds(1);  // a handshake or a first head, while others wait
constexpr auto kTransferTime = std::chrono::seconds(60);
constexpr auto kLingerTime = std::chrono::seconds(2);

// A client that sends head and body in two writes waits for our acknowledgement of the first (its Nagle's algorithm),
// which the kernel would delay by 40 ms: tcp(7), TCP_QUICKACK.
void acknowledgeAtOnce(tcp::socket& socket) {
  const int on = 1;
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

}  // namespace

// Whoever reaches a local socket is on this machine.
std::string peerOf(const tcp::socket& socket) {
  beast::error_code failed;
  const auto endpoint = socket.remote_endpoint(failed);
  const bool local = failed || (endpoint.data()->sa_family != AF_INET && endpoint.data()->sa_family != AF_INET6);
  return local ? "127.0.0.1" : endpoint.address().to_string();
}

Connection::Connection(Stream socket, std::shared_ptr<Door> door, Site& site, std::string peer,
                       std::shared_ptr<void> place)
    : socket_(std::move(socket)),
      door_(std::move(door)),
      shared_(*door_->shared()),
      site_(site),
      place_(std::move(place)),
      peer_(std::move(peer)),
      buffer_(kHeadLimit) {
  door_->enter(*this);
  beast::error_code ignored;
  socket_.next_layer().set_option(tcp::no_delay(true), ignored);
}

Connection::~Connection() {
  door_->leave(*this);
  setBusy(false);
}

void Connection::start() {
  if (socket_.secure()) return handshake();
  readHead();
}

// As long as a head may take. Whoever does not speak TLS is told so in the clear, or by the alert that was sent.
void Connection::handshake() {
  state_ = State::Handshake;
  deadline_ = std::chrono::steady_clock::now() + kHeadTime;
  socket_.async_handshake([self = shared_from_this()](beast::error_code error) {
    if (!error) return self->readHead();
    if (error == net::error::operation_aborted) return;
    const bool plain = self->socket_.clientIsPlain();
    self->socket_.becomePlain();
    if (plain) return self->refuseMalformed(net::error::no_protocol_option);
    self->linger();
  });
}

Request Connection::newRequest() const {
  Request request;
  request.peer = peer_;
  request.secure = socket_.secure();
  return request;
}

void Connection::readHead() {
  parser_.emplace();
  parser_->header_limit(kHeadLimit);
  parser_->body_limit(boost::none);  // the exchange says it when the head is there
  buffer_.max_size(kHeadLimit);
  before_trailers_.reset();
  exchange_.reset();
  state_ = State::Head;
  deadline_ = std::chrono::steady_clock::now() + (served_any_ ? kIdleTime : kHeadTime);
  head_started_ = false;
  if (buffer_.size() > 0) return parseHead();  // pipelined behind the last request
  readMoreOfHead();
}

void Connection::readMoreOfHead() {
  if (buffer_.size() >= kHeadLimit) return refuseMalformed(bhttp::error::header_limit);
  socket_.async_read_some(buffer_.prepare(std::min(kReadSize, kHeadLimit - buffer_.size())),
                          [self = shared_from_this()](beast::error_code error, std::size_t got) {
                            if (self->state_ == State::Lingering) return self->discarded(error, got);
                            self->buffer_.commit(got);
                            if (!error) return self->parseHead();
                            if (error == net::error::eof && self->buffer_.size() > 0)
                              self->refuseMalformed(bhttp::error::partial_message);
                          });
}

void Connection::parseHead() {
  beast::error_code error;
  const auto used = parser_->put(buffer_.data(), error);
  if (error == bhttp::error::need_more || (!error && !parser_->is_header_done())) {
    buffer_.consume(used);
    return readMoreOfHead();
  }
  if (error) return refuseMalformed(error);
  const auto refusal = readRawHead({static_cast<const char*>(buffer_.data().data()), used});
  buffer_.consume(used);
  onHead(refusal);
}

void Connection::checkDeadline(SteadyTime now) {
  if (state_ == State::Head && !head_started_ && buffer_.size() > 0) {
    head_started_ = true;
    deadline_ = std::min(deadline_, now + kHeadTime);
  }
  if (state_ == State::Working || now < deadline_) return;
  if (state_ == State::Head && head_started_) {
    // The head took too long. The read that waits for its rest goes on, for nobody.
    static const std::string answer = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    socket_.writeAtOnce(net::buffer(answer));
    socket_.endSending();
    state_ = State::Lingering;
    deadline_ = now + kLingerTime;
    return;
  }
  close();
}

void Connection::close() {
  beast::error_code ignored;
  socket_.close(ignored);
}

SteadyTime Connection::makesRoomFrom() const {
  const auto since = deadline_ - (served_any_ ? kIdleTime : kHeadTime);
  if (idle()) return since + kFreshTime;
  if (state_ == State::Handshake || (state_ == State::Head && !served_any_)) return since + kIntroductionTime;
  return SteadyTime::max();
}

// A request that was sent before we said that we go is answered.
void Connection::drain() {
  if (!served_any_ && (state_ == State::Handshake || state_ == State::Head))
    setBusy(true);
  else if (idle())
    close();
}

bool Connection::silentNewcomer() const {
  return !served_any_ && (state_ == State::Handshake || (state_ == State::Head && buffer_.size() == 0));
}

void Connection::giveUp() {
  close();
  place_.reset();
}

void Connection::setBusy(bool busy) {
  if (busy == busy_) return;
  busy_ = busy;
  if (busy)
    ++shared_.busy;
  else
    --shared_.busy;
}

void Connection::onHead(const std::optional<Refusal>& raw_refusal) {
  setBusy(true);
  started_ = std::chrono::steady_clock::now();
  const auto& head = parser_->get();
  body_pending_ = !parser_->is_done();
  keep_alive_ = head.keep_alive();
  if (body_pending_ && parser_->chunked()) before_trailers_.emplace(head.base());
  auto request = newRequest();
  auto refusal = readRequestHead(head, request);
  if (!refusal) refusal = raw_refusal;
  head_only_ = request.head;
  exchange_ = site_.open(std::move(request));
  if (refusal) return misread(*refusal);
  if (auto answer = exchange_->admit()) return respond(std::move(*answer));
  askFirst();
}

void Connection::askFirst() {
  state_ = State::Working;
  // As with a worker, the one reference goes along and comes back.
  const bool asked = exchange_->ask([self = shared_from_this()]() mutable {
    auto& context = self->door_->context();
    net::post(context, [self = std::move(self)] { self->onAdmitted(); });
  });
  if (!asked) onAdmitted();
}

void Connection::onAdmitted() {
  if (auto answer = exchange_->admitted()) return respond(std::move(*answer));
  if (!body_pending_) return dispatch();
  const auto limit = exchange_->bodyLimit();
  if (const auto length = parser_->content_length(); length && *length > limit)
    return refuse({413, fmt::format("the body has {} bytes, {} are allowed here", *length, limit)});
  parser_->body_limit(limit);
  state_ = State::Body;
  deadline_ = std::chrono::steady_clock::now() + kTransferTime;
  if (bhttp::token_list(parser_->get()[bhttp::field::expect]).exists("100-continue")) {
    static const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    return net::async_write(socket_, net::buffer(go_on),
                            [self = shared_from_this()](beast::error_code failed, std::size_t) {
                              if (!failed) self->readBody();
                            });
  }
  if (buffer_.size() == 0) acknowledgeAtOnce(socket_.next_layer());
  readBody();
}

void Connection::readBody() {
  // Static: Beast keeps a reference to it.
  static auto check_extension = [](std::uint64_t, beast::string_view extension, beast::error_code& error) {
    if (extension.size() > kChunkExtensionLimit) error = bhttp::error::bad_chunk_extension;
  };
  parser_->on_chunk_header(check_extension);
  parser_->eager(true);
  parseBody();
}

void Connection::readMoreOfBody() {
  // Little of a chunked one: all framing that one read brings is parsed at once.
  const auto size = parser_->content_length() ? kBodyReadSize : kFramingLimit;
  buffer_.max_size(kFramingLimit + kBodyReadSize);
  socket_.async_read_some(buffer_.prepare(size), [self = shared_from_this()](beast::error_code error, std::size_t got) {
    self->buffer_.commit(got);
    if (!error) return self->parseBody();
    self->setBusy(false);  // the client left
  });
}

// Content is taken as it comes; what stays in the buffer is framing that is not whole yet.
void Connection::parseBody() {
  beast::error_code error;
  try {
    while (!error && buffer_.size() > 0 && !parser_->is_done()) {
      const auto used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
    }
  } catch (const std::exception&) {  // a trailer that Beast has no room for
    error = bhttp::error::header_limit;
  }
  if (error == bhttp::error::need_more) error = {};
  if (!error && !parser_->is_done() && buffer_.size() > kFramingLimit) error = bhttp::error::header_limit;
  if (error == bhttp::error::body_limit)
    return refuse({413, fmt::format("the body is larger than {} bytes", exchange_->bodyLimit())});
  if (error == bhttp::error::header_limit)
    return refuse({400, "what frames the body, trailers among it, is larger than 8 KiB"});
  if (error) return refuse({400, "the body is malformed"});
  if (!parser_->is_done()) return readMoreOfBody();
  body_pending_ = false;
  exchange_->setBody(std::move(parser_->get().body()));
  dispatch();
}

void Connection::refuseMalformed(beast::error_code error) {
  setBusy(true);
  started_ = std::chrono::steady_clock::now();
  exchange_ = site_.open(newRequest());
  if (error == net::error::no_protocol_option) return misread({400, "this port speaks HTTPS: use https://"});
  if (error == bhttp::error::header_limit || error == bhttp::error::buffer_overflow)
    return misread({431, "the header is larger than 32 KiB"});
  if (error == bhttp::error::bad_version) return misread({505, "only HTTP/1.1 and HTTP/1.0 are spoken here"});
  misread({400, fmt::format("malformed request: {}", error.message())});
}

void Connection::misread(const Refusal& refusal) {
  body_pending_ = true;  // as for every refusal
  if (auto answer = exchange_->misread(refusal)) return respond(std::move(*answer));
  askFirst();
}

void Connection::refuse(const Refusal& refusal) {
  body_pending_ = true;  // nothing after this can be trusted: close
  respond(exchange_->refuse(refusal));
}

// The one reference goes to the worker and comes back with the answer, so that it is never dropped over there.
void Connection::dispatch() {
  state_ = State::Working;
  if (auto answer = exchange_->answerNow()) return respond(std::move(*answer));
  const bool accepted = shared_.workers.post([self = shared_from_this()](Turn turn) mutable {
    auto response = std::make_shared<Response>(  // shared with nobody: std::function copies
        turn == Turn::InTime ? self->exchange_->answer()
                             : self->exchange_->refuse({503, "the server is busy: this waited for too long"}));
    auto& context = self->door_->context();
    net::post(context,
              [self = std::move(self), response = std::move(response)] { self->respond(std::move(*response)); });
  });
  if (!accepted) respond(exchange_->refuse({503, "the worker queue is full"}));
}

void Connection::respond(Response response) {
  exchange_->finish(response, std::chrono::steady_clock::now() - started_);
  if (response.upgrade) return upgrade(response);
  // A body that was not read would be taken for the next request.
  const bool keep_alive = !body_pending_ && !shared_.draining && keep_alive_;
  response_ = std::move(response);
  writeResponseHead(head_, response_, keep_alive);
  state_ = State::Writing;
  deadline_ = std::chrono::steady_clock::now() + kTransferTime;
  const bool with_body = !head_only_ && response_.status != 204 && response_.status != 304;
  const std::array<net::const_buffer, 2> buffers{net::buffer(head_),
                                                 with_body ? net::buffer(response_.content()) : net::const_buffer()};
  net::async_write(socket_, buffers, [self = shared_from_this(), keep_alive](beast::error_code error, std::size_t) {
    self->setBusy(false);
    if (error) return;
    self->served_any_ = true;
    self->response_ = {};
    if (keep_alive)
      self->readHead();
    else
      self->linger();
  });
}

// The socket leaves; nobody reads what was sent ahead of our answer.
void Connection::upgrade(Response& response) {
  if (shared_.draining || !socket_.is_open()) return close();
  auto request = parser_->release();
  // The parser adds trailers to the head, which they must not change (RFC 9110 section 6.5.1).
  if (before_trailers_) request.base() = std::move(*before_trailers_);
  response.upgrade(
      {std::move(socket_), std::move(request), door_->thread(), std::move(place_), std::move(response.headers)});
}

// Closing with unread input would send a reset, which may overtake the answer: read a little first.
void Connection::linger() {
  state_ = State::Lingering;
  deadline_ = std::chrono::steady_clock::now() + kLingerTime;
  socket_.endSending();
  buffer_.consume(buffer_.size());
  discard();
}

void Connection::discard() {
  socket_.async_read_some(
      buffer_.prepare(kReadSize),
      [self = shared_from_this()](beast::error_code error, std::size_t got) { self->discarded(error, got); });
}

void Connection::discarded(beast::error_code error, std::size_t got) {
  lingered_ += got;
  if (!error && lingered_ < kLingerBytes) discard();
}

}  // namespace aragora::edge
