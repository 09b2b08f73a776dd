#include "daemon/edge/connection.h"

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include "common/base/text.h"
#include "daemon/edge/request_head.h"
#include "daemon/edge/response_head.h"

namespace aragora::edge {

using tcp = net::ip::tcp;
using SteadyTime = std::chrono::steady_clock::time_point;

namespace {
constexpr std::uint32_t kHeadLimit = 32 * 1024;
constexpr std::uint64_t kBodyLimit = 1U << 20;
constexpr std::size_t kLingerBytes = 64 * 1024;
constexpr auto kHeadTime = std::chrono::seconds(10);
constexpr auto kIdleTime = std::chrono::seconds(75);
constexpr auto kTransferTime = std::chrono::seconds(60);
constexpr auto kLingerTime = std::chrono::seconds(2);
}  // namespace

Connection::Connection(tcp::socket socket, IoThread& io)
    : socket_(std::move(socket)), io_(io), buffer_(kHeadLimit + kBodyLimit) {
  io_.connections.insert(this);
  ++io_.shared.connections;
  beast::error_code ignored;
  peer_ = socket_.remote_endpoint(ignored).address().to_string();
  socket_.set_option(tcp::no_delay(true), ignored);
}

Connection::~Connection() {
  io_.connections.erase(this);
  if (counted_) --io_.shared.connections;
  if (busy_) --io_.shared.busy;
}

void Connection::readHead() {
  parser_.emplace();
  parser_->header_limit(kHeadLimit);
  parser_->body_limit(kBodyLimit);
  state_ = State::Head;
  deadline_ = std::chrono::steady_clock::now() + (served_any_ ? kIdleTime : kHeadTime);
  head_started_ = false;
  bhttp::async_read_header(socket_, buffer_, *parser_,
                           [self = shared_from_this()](beast::error_code error, std::size_t) { self->onHead(error); });
}

void Connection::checkDeadline(SteadyTime now) {
  if (state_ == State::Head && !head_started_ && (buffer_.size() > 0 || parser_->got_some())) {
    head_started_ = true;
    deadline_ = std::min(deadline_, now + kHeadTime);
  }
  if (state_ == State::Working || now < deadline_) return;
  if (state_ == State::Head && head_started_) {
    // The head took too long: said once, then closed.
    state_ = State::Lingering;
    deadline_ = now + kLingerTime;
    static const std::string answer = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    beast::error_code ignored;
    socket_.non_blocking(true, ignored);
    socket_.write_some(net::buffer(answer), ignored);
  }
  close();
}

void Connection::close() {
  beast::error_code ignored;
  socket_.close(ignored);
}

void Connection::setBusy(bool busy) {
  if (busy == busy_) return;
  busy_ = busy;
  if (busy)
    ++io_.shared.busy;
  else
    --io_.shared.busy;
}

void Connection::onHead(beast::error_code error) {
  if (error == bhttp::error::end_of_stream || error == net::error::eof || error == net::error::operation_aborted ||
      error == net::error::connection_reset)
    return;
  setBusy(true);
  started_ = std::chrono::steady_clock::now();
  request_ = web::Request();
  route_ = nullptr;
  if (error) return refuseMalformed(error);
  const auto& head = parser_->get();
  body_pending_ = !parser_->is_done();
  for (const auto& field : head)
    request_.headers.emplace_back(lower(std::string_view(field.name_string().data(), field.name_string().size())),
                                  std::string(field.value()));
  if (const auto problem = readRequestHead(head, request_)) return refuse(problem->first, problem->second);
  io_.shared.middleware.identify(request_, peer_);
  if (request_.path == "/ws" && beast::websocket::is_upgrade(head)) return upgrade();

  auto admitted = io_.shared.middleware.admit(request_);
  if (admitted.answer) return respond(std::move(*admitted.answer));
  route_ = admitted.route;
  if (const auto length = parser_->content_length(); length && *length > route_->body_limit) {
    return respond(web::errorResponse(
        Error(Code::PayloadTooLarge,
              fmt::format("the body has {} bytes, {} are allowed here", *length, route_->body_limit)),
        request_.request_id));
  }
  if (!body_pending_) return dispatch();
  state_ = State::Body;
  deadline_ = std::chrono::steady_clock::now() + kTransferTime;
  if (bhttp::token_list(head[bhttp::field::expect]).exists("100-continue")) {
    static const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    return net::async_write(socket_, net::buffer(go_on),
                            [self = shared_from_this()](beast::error_code failed, std::size_t) {
                              if (!failed) self->readBody();
                            });
  }
  readBody();
}

void Connection::readBody() {
  bhttp::async_read(socket_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, std::size_t) {
    if (error == bhttp::error::body_limit) {
      return self->respond(
          web::errorResponse(Error(Code::PayloadTooLarge, fmt::format("the body is larger than {} bytes", kBodyLimit)),
                             self->request_.request_id));
    }
    if (error == net::error::operation_aborted || error == net::error::eof || error == net::error::connection_reset ||
        error == bhttp::error::partial_message)
      return self->setBusy(false);
    if (error) return self->refuse(400, "the body is malformed");
    self->body_pending_ = false;
    self->request_.body = std::move(self->parser_->get().body());
    self->dispatch();
  });
}

void Connection::refuseMalformed(beast::error_code error) {
  body_pending_ = true;  // nothing after this can be trusted: close
  if (error == bhttp::error::header_limit || error == bhttp::error::buffer_overflow)
    return refuse(431, "the header is larger than 32 KiB");
  if (error == bhttp::error::body_limit)
    return refuse(413, fmt::format("the body is larger than {} bytes", kBodyLimit));
  if (error == bhttp::error::bad_version) return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  if (error.category() != bhttp::make_error_code(bhttp::error::bad_field).category())
    return setBusy(false);  // the network, not the client
  refuse(400, fmt::format("malformed request: {}", error.message()));
}

void Connection::refuse(int status, const std::string& reason) {
  body_pending_ = true;
  if (request_.request_id.empty()) io_.shared.middleware.identify(request_, peer_);
  auto response = web::errorResponse(Error(Code::Validation, reason), request_.request_id);
  auto body = parseJson(response.body, "our own answer").as_object();
  body["code"] = status == 413 ? "PAYLOAD_TOO_LARGE" : "BAD_REQUEST";
  response.body = toJson(body);
  response.status = status;
  respond(std::move(response));
}

void Connection::dispatch() {
  state_ = State::Working;
  if (route_->inline_handler && !request_.access) return respond(io_.shared.middleware.run(*route_, request_));
  if (auto cached = web::Guard::runCached(*route_, request_)) return respond(std::move(*cached));
  const bool accepted = io_.shared.workers.post([self = shared_from_this()] {
    auto response = std::make_shared<web::Response>(self->io_.shared.middleware.run(*self->route_, self->request_));
    net::post(self->io_.context, [self, response] { self->respond(std::move(*response)); });
  });
  if (!accepted) respond(web::errorResponse(Error(Code::Overloaded, "the worker queue is full"), request_.request_id));
}

void Connection::respond(web::Response response) {
  io_.shared.middleware.finish(request_, route_, response,
                               std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  // A body that was not read would be taken for the next request.
  const bool keep_alive = !body_pending_ && !io_.shared.draining && parser_->get().keep_alive();
  response_ = std::move(response);
  writeResponseHead(head_, response_, keep_alive);
  state_ = State::Writing;
  deadline_ = std::chrono::steady_clock::now() + kTransferTime;
  const bool with_body = !request_.head && response_.status != 204 && response_.status != 304;
  const std::array<net::const_buffer, 2> buffers{net::buffer(head_),
                                                 with_body ? net::buffer(response_.content()) : net::const_buffer()};
  net::async_write(socket_, buffers, [self = shared_from_this(), keep_alive](beast::error_code error, std::size_t) {
    self->setBusy(false);
    if (error) return;
    self->served_any_ = true;
    if (keep_alive)
      self->readHead();
    else
      self->linger();
  });
}

// Closing with unread input would send a reset, which may overtake the answer: read a little first.
void Connection::linger() {
  state_ = State::Lingering;
  deadline_ = std::chrono::steady_clock::now() + kLingerTime;
  beast::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  discard();
}

void Connection::discard() {
  socket_.async_read_some(net::buffer(discarded_),
                          [self = shared_from_this()](beast::error_code error, std::size_t got) {
                            self->lingered_ += got;
                            if (!error && self->lingered_ < kLingerBytes) self->discard();
                          });
}

void Connection::upgrade() {
  const auto& middleware = io_.shared.middleware;
  const auto origin = request_.header("origin");
  if (!origin.empty() && !middleware.originAllowed(origin))
    return respond(web::errorResponse(
        Error(Code::Forbidden, "this origin may not open a WebSocket", "add it to server.allowed_origins"),
        request_.request_id));
  const auto principal = middleware.authenticate(webSocketToken());
  if (principal.empty())
    return respond(
        web::errorResponse(Error(Code::Unauthorized, "credentials are missing or wrong",
                                 "send the token as Authorization, as subprotocol access_token.<token> or as ?token="),
                           request_.request_id));
  const auto text = [this](const char* name) {
    const auto found = request_.query.find(name);
    return found == request_.query.end() ? std::string() : found->second;
  };
  const auto since = parseInteger(text("since")).value_or(0);
  // The session counts as this connection's place until it ends.
  counted_ = false;
  setBusy(false);
  auto* connections = &io_.shared.connections;
  io_.shard.accept(std::move(socket_), parser_->release(), text("debate_id"), since, principal != "anonymous",
                   [connections] { --*connections; });
}

std::string Connection::webSocketToken() const {
  const auto authorization = request_.header("authorization");
  if (startsWith(authorization, "Bearer ")) return std::string(authorization.substr(7));
  for (const auto& protocol : split(request_.header("sec-websocket-protocol"), ',')) {
    if (startsWith(protocol, "access_token.")) return protocol.substr(13);
  }
  const auto found = request_.query.find("token");
  return found == request_.query.end() ? std::string() : found->second;
}

void IoThread::accept() {
  acceptor.async_accept([this](beast::error_code error, tcp::socket socket) {
    if (error == net::error::operation_aborted) return;
    if (!error && !shared.draining && shared.connections < shared.options.max_connections)
      std::make_shared<Connection>(std::move(socket), *this)->readHead();
    if (error) {  // out of descriptors, most likely: take a breath instead of spinning
      auto pause = std::make_shared<net::steady_timer>(context, std::chrono::milliseconds(100));
      return pause->async_wait([this, pause](beast::error_code) { accept(); });
    }
    accept();
  });
}

void IoThread::sweep() {
  sweep_timer.expires_after(std::chrono::seconds(1));
  sweep_timer.async_wait([this](beast::error_code error) {
    if (error) return;
    const auto now = std::chrono::steady_clock::now();
    const std::vector<Connection*> all(connections.begin(), connections.end());
    for (auto* connection : all) connection->checkDeadline(now);
    sweep();
  });
}

void IoThread::closeIdle() {
  const std::vector<Connection*> all(connections.begin(), connections.end());
  for (auto* connection : all) {
    if (connection->idle()) connection->close();
  }
}

}  // namespace aragora::edge
