#include "daemon/http/listener.h"

#include <unistd.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include <ctime>
#include <future>
#include <unordered_set>

#include "common/base/log.h"
#include "common/base/text.h"
#include "daemon/ws/session.h"

namespace aragora::http {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace bhttp = beast::http;
using tcp = net::ip::tcp;
using SteadyTime = std::chrono::steady_clock::time_point;

namespace {
constexpr std::uint32_t kHeadLimit = 32 * 1024;
constexpr std::size_t kTargetLimit = 8 * 1024;
constexpr std::size_t kFieldLimit = 100;
constexpr std::uint64_t kBodyLimit = 1U << 20;
constexpr std::size_t kLingerBytes = 64 * 1024;
constexpr auto kHeadTime = std::chrono::seconds(10);
constexpr auto kIdleTime = std::chrono::seconds(75);
constexpr auto kTransferTime = std::chrono::seconds(60);
constexpr auto kLingerTime = std::chrono::seconds(2);

constexpr std::string_view kSecurityHeaders =
    "Server: aragora\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), microphone=(), geolocation=()\r\n"
    "X-XSS-Protection: 0\r\n";

const std::string& dateHeader() {
  thread_local std::time_t at = 0;
  thread_local std::string text;
  const auto now = std::time(nullptr);
  if (now != at) {
    std::tm parts{};
    gmtime_r(&now, &parts);
    char buffer[64];
    std::strftime(buffer, sizeof buffer, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    text = buffer;
    at = now;
  }
  return text;
}

struct Shared {
  const ListenerOptions& options;
  Middleware& middleware;
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
  tcp::acceptor acceptor;
  net::steady_timer sweep_timer;
  std::unordered_set<Connection*> connections;
  std::thread thread;

  void accept();
  void sweep();
  void closeIdle();
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, IoThread& io) : socket_(std::move(socket)), io_(io) {
    io_.connections.insert(this);
    ++io_.shared.connections;
    beast::error_code ignored;
    peer_ = socket_.remote_endpoint(ignored).address().to_string();
    socket_.set_option(tcp::no_delay(true), ignored);
  }
  ~Connection() {
    io_.connections.erase(this);
    if (counted_) --io_.shared.connections;
    if (busy_) --io_.shared.busy;
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void readHead() {
    parser_.emplace();
    parser_->header_limit(kHeadLimit);
    parser_->body_limit(kBodyLimit);
    state_ = State::Head;
    deadline_ = std::chrono::steady_clock::now() + (served_any_ ? kIdleTime : kHeadTime);
    head_started_ = false;
    bhttp::async_read_header(
        socket_, buffer_, *parser_,
        [self = shared_from_this()](beast::error_code error, std::size_t) { self->onHead(error); });
  }

  // Called once a second in the connection's own thread.
  void checkDeadline(SteadyTime now) {
    if (state_ == State::Head && !head_started_ && (buffer_.size() > 0 || parser_->got_some())) {
      head_started_ = true;
      deadline_ = std::min(deadline_, now + kHeadTime);
    }
    if (state_ == State::Working || now < deadline_) return;
    if (state_ == State::Head && head_started_) {
      // The head took too long: said once, then closed.
      state_ = State::Lingering;
      deadline_ = now + kLingerTime;
      static const std::string answer =
          "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
      beast::error_code ignored;
      socket_.non_blocking(true, ignored);
      socket_.write_some(net::buffer(answer), ignored);
    }
    close();
  }

  bool idle() const { return state_ == State::Head && !head_started_ && buffer_.size() == 0 && !parser_->got_some(); }
  void close() {
    beast::error_code ignored;
    socket_.close(ignored);
  }

 private:
  enum class State { Head, Body, Working, Writing, Lingering };

  void setBusy(bool busy) {
    if (busy == busy_) return;
    busy_ = busy;
    if (busy)
      ++io_.shared.busy;
    else
      --io_.shared.busy;
  }

  void onHead(beast::error_code error) {
    if (error == bhttp::error::end_of_stream || error == net::error::eof || error == net::error::operation_aborted ||
        error == net::error::connection_reset)
      return;
    setBusy(true);
    started_ = std::chrono::steady_clock::now();
    request_ = Request();
    route_ = nullptr;
    if (error) return refuseMalformed(error);
    const auto& head = parser_->get();
    body_pending_ = !parser_->is_done();
    for (const auto& field : head)
      request_.headers.emplace_back(lower(std::string_view(field.name_string().data(), field.name_string().size())),
                                    std::string(field.value()));
    if (const auto problem = headProblem(head)) return refuse(problem->first, problem->second);
    io_.shared.middleware.identify(request_, peer_);
    if (request_.path == "/ws" && beast::websocket::is_upgrade(head)) return upgrade();

    auto admitted = io_.shared.middleware.admit(request_);
    if (admitted.answer) return respond(std::move(*admitted.answer));
    route_ = admitted.route;
    if (const auto length = parser_->content_length(); length && *length > route_->body_limit) {
      return respond(
          errorResponse(Error(Code::PayloadTooLarge,
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

  void readBody() {
    bhttp::async_read(socket_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (error == bhttp::error::body_limit) {
        return self->respond(
            errorResponse(Error(Code::PayloadTooLarge, fmt::format("the body is larger than {} bytes", kBodyLimit)),
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

  // What Beast does not refuse by itself. RFC 9112 sections 2.3, 3.2, 6.1; RFC 9110 section 9.1.
  std::optional<std::pair<int, std::string>> headProblem(const bhttp::request<bhttp::string_body>& head) {
    const auto fail = [](int status, std::string reason) {
      return std::optional(std::pair(status, std::move(reason)));
    };
    if (head.version() != 11 && head.version() != 10) return fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (static_cast<std::size_t>(std::distance(head.begin(), head.end())) > kFieldLimit)
      return fail(431, "too many header fields");
    const auto hosts = head.count(bhttp::field::host);
    if (hosts > 1 || (hosts == 0 && head.version() == 11)) return fail(400, "exactly one Host field is needed");
    if (head.count(bhttp::field::content_length) > 1) return fail(400, "more than one Content-Length");
    const auto coding = head[bhttp::field::transfer_encoding];
    if (!coding.empty() && head.version() == 10) return fail(400, "Transfer-Encoding in HTTP/1.0");
    if (!coding.empty() && lower(std::string_view(coding.data(), coding.size())) != "chunked")
      return fail(501, "the only transfer coding known here is chunked");
    request_.host = std::string(head[bhttp::field::host]);
    std::string_view target(head.target().data(), head.target().size());
    if (target.size() > kTargetLimit) return fail(414, "the request target is too long");
    if (startsWith(target, "http://") || startsWith(target, "https://")) {  // absolute-form
      const auto authority = target.find("://") + 3;
      const auto path = target.find('/', authority);
      if (target.substr(authority, path - authority) != request_.host)
        return fail(400, "the request target names another host");
      target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
    }
    request_.method = std::string(head.method_string());
    static const std::set<std::string> kMethods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    if (kMethods.count(request_.method) == 0)
      return fail(head.method() == bhttp::verb::unknown ? 501 : 405, "this method is not taken here");
    if (request_.method == "OPTIONS" && target == "*") target = "/";
    auto parsed = parseTarget(target);
    if (!parsed) return fail(400, "the request target is malformed");
    request_.path = std::move(parsed->path);
    request_.query = std::move(parsed->query);
    if (request_.method == "HEAD") {
      request_.head = true;
      request_.method = "GET";
    }
    return std::nullopt;
  }

  void refuseMalformed(beast::error_code error) {
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

  void refuse(int status, const std::string& reason) {
    body_pending_ = true;
    if (request_.request_id.empty()) io_.shared.middleware.identify(request_, peer_);
    auto response = errorResponse(Error(Code::Validation, reason), request_.request_id);
    auto body = parseJson(response.body, "our own answer").as_object();
    body["code"] = status == 413 ? "PAYLOAD_TOO_LARGE" : "BAD_REQUEST";
    response.body = toJson(body);
    response.status = status;
    respond(std::move(response));
  }

  void dispatch() {
    state_ = State::Working;
    if (route_->inline_handler && !request_.access) return respond(io_.shared.middleware.run(*route_, request_));
    if (auto cached = Middleware::runCached(*route_, request_)) return respond(std::move(*cached));
    const bool accepted = io_.shared.workers.post([self = shared_from_this()] {
      auto response = std::make_shared<Response>(self->io_.shared.middleware.run(*self->route_, self->request_));
      net::post(self->io_.context, [self, response] { self->respond(std::move(*response)); });
    });
    if (!accepted) respond(errorResponse(Error(Code::Overloaded, "the worker queue is full"), request_.request_id));
  }

  void respond(Response response) {
    io_.shared.middleware.finish(request_, route_, response,
                                 std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
    // A body that was not read would be taken for the next request.
    const bool keep_alive = !body_pending_ && !io_.shared.draining && parser_->get().keep_alive();
    response_ = std::move(response);
    writeHead(keep_alive);
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

  void writeHead(bool keep_alive) {
    const auto reason = bhttp::obsolete_reason(bhttp::int_to_status(static_cast<unsigned>(response_.status)));
    head_.clear();
    fmt::format_to(std::back_inserter(head_), "HTTP/1.1 {} {}\r\n", response_.status,
                   std::string_view(reason.data(), reason.size()));
    head_ += dateHeader();
    head_ += kSecurityHeaders;
    if (response_.status != 204)
      fmt::format_to(std::back_inserter(head_), "Content-Type: {}\r\nContent-Length: {}\r\n", response_.content_type,
                     response_.content().size());
    for (const auto& [name, value] : response_.headers)
      fmt::format_to(std::back_inserter(head_), "{}: {}\r\n", name, value);
    head_ += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  }

  // Closing with unread input would send a reset, which may overtake the answer: read a little first.
  void linger() {
    state_ = State::Lingering;
    deadline_ = std::chrono::steady_clock::now() + kLingerTime;
    beast::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    discard();
  }

  void discard() {
    socket_.async_read_some(net::buffer(discarded_),
                            [self = shared_from_this()](beast::error_code error, std::size_t got) {
                              self->lingered_ += got;
                              if (!error && self->lingered_ < kLingerBytes) self->discard();
                            });
  }

  void upgrade() {
    const auto& middleware = io_.shared.middleware;
    const auto origin = request_.header("origin");
    if (!origin.empty() && !middleware.originAllowed(origin))
      return respond(errorResponse(
          Error(Code::Forbidden, "this origin may not open a WebSocket", "add it to server.allowed_origins"),
          request_.request_id));
    const auto principal = middleware.authenticate(webSocketToken());
    if (principal.empty())
      return respond(
          errorResponse(Error(Code::Unauthorized, "credentials are missing or wrong",
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

  std::string webSocketToken() const {
    const auto authorization = request_.header("authorization");
    if (startsWith(authorization, "Bearer ")) return std::string(authorization.substr(7));
    for (const auto& protocol : split(request_.header("sec-websocket-protocol"), ',')) {
      if (startsWith(protocol, "access_token.")) return protocol.substr(13);
    }
    const auto found = request_.query.find("token");
    return found == request_.query.end() ? std::string() : found->second;
  }

  tcp::socket socket_;
  IoThread& io_;
  std::string peer_;
  beast::flat_buffer buffer_{kHeadLimit + kBodyLimit};
  std::optional<bhttp::request_parser<bhttp::string_body>> parser_;
  Request request_;
  const Route* route_ = nullptr;
  Response response_;
  std::string head_;
  State state_ = State::Head;
  SteadyTime deadline_;
  SteadyTime started_;
  bool head_started_ = false;
  bool body_pending_ = false;
  bool served_any_ = false;
  bool counted_ = true;
  bool busy_ = false;
  std::array<char, 4096> discarded_{};
  std::size_t lingered_ = 0;
};

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
}  // namespace

struct Listener::Impl {
  ListenerOptions options;
  Shared shared;
  std::vector<std::unique_ptr<IoThread>> threads;
  std::uint16_t port = 0;

  Impl(const ListenerOptions& given, Middleware& middleware, WorkerPool& workers)
      : options(given), shared{options, middleware, workers} {}

  void openAcceptors() {
    beast::error_code error;
    const auto address =
        net::ip::make_address(options.bind_host == "localhost" ? "127.0.0.1" : options.bind_host, error);
    if (error)
      throw Error(Code::Config, fmt::format("ARAGORA_BIND_HOST: {} is not an address", options.bind_host),
                  "use an IP address such as 127.0.0.1 or 0.0.0.0");
    port = options.port;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      auto& acceptor = threads[i]->acceptor;
      if (!options.inherited_sockets.empty()) {
        // One socket from systemd, one descriptor for each thread.
        acceptor.assign(tcp::v4(), ::dup(options.inherited_sockets[i % options.inherited_sockets.size()]));
        port = acceptor.local_endpoint().port();
        continue;
      }
      const tcp::endpoint endpoint(address, port);
      acceptor.open(endpoint.protocol());
      acceptor.set_option(net::socket_base::reuse_address(true));
      using ReusePort = net::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
      acceptor.set_option(ReusePort(true));
      acceptor.bind(endpoint, error);
      if (error)
        throw Error(Code::CannotCreate,
                    fmt::format("cannot listen on {}:{}: {}", options.bind_host, port, error.message()),
                    "another process has the port: ss -ltnp; or set ARAGORA_PORT");
      acceptor.listen(4096);
      port = acceptor.local_endpoint().port();
    }
  }

  // SO_REUSEPORT would let two daemons share a port silently: ask with a plain bind first.
  void requireFreePort() const {
    if (!options.inherited_sockets.empty() || options.port == 0) return;
    beast::error_code error;
    const auto address =
        net::ip::make_address(options.bind_host == "localhost" ? "127.0.0.1" : options.bind_host, error);
    if (error) return;
    net::io_context context;
    tcp::acceptor probe(context);
    probe.open(tcp::endpoint(address, options.port).protocol());
    probe.set_option(net::socket_base::reuse_address(true));
    probe.bind(tcp::endpoint(address, options.port), error);
    if (!error) probe.listen(1, error);
    if (error)
      throw Error(Code::CannotCreate,
                  fmt::format("cannot listen on {}:{}: {}", options.bind_host, options.port, error.message()),
                  "another process has the port: ss -ltnp; or set ARAGORA_PORT");
  }
};

Listener::Listener(const ListenerOptions& options, Middleware& middleware, WorkerPool& workers, ws::Hub& hub,
                   store::Debates& debates, metrics::Registry& metrics, std::function<std::size_t()> active_debates)
    : impl_(std::make_unique<Impl>(options, middleware, workers)) {
  const ws::ShardServices services{debates, workers, metrics, std::move(active_debates)};
  for (std::size_t i = 0; i < options.threads; ++i) {
    impl_->threads.push_back(std::make_unique<IoThread>(impl_->shared, services));
    hub.add(impl_->threads.back()->shard);
  }
  impl_->requireFreePort();
  impl_->openAcceptors();
}

Listener::~Listener() { stop(); }

void Listener::start() {
  for (auto& io : impl_->threads) {
    io->accept();
    io->sweep();
    io->thread = std::thread([&io] { io->context.run(); });
  }
}

std::uint16_t Listener::port() const { return impl_->port; }
std::size_t Listener::connections() const { return impl_->shared.connections; }

bool Listener::responsive(std::chrono::milliseconds within) {
  const auto deadline = deadlineIn(within);
  for (auto& io : impl_->threads) {
    auto answered = std::make_shared<std::promise<void>>();
    auto future = answered->get_future();
    net::post(io->context, [answered] { answered->set_value(); });
    if (future.wait_until(deadline) != std::future_status::ready) return false;
  }
  return true;
}

void Listener::stopAccepting() {
  impl_->shared.draining = true;
  for (auto& io : impl_->threads) {
    net::post(io->context, [&io] {
      beast::error_code ignored;
      io->acceptor.close(ignored);
      io->closeIdle();
    });
  }
}

bool Listener::waitUntilIdle(Deadline deadline) {
  while (impl_->shared.busy > 0) {
    if (remaining(deadline).count() == 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

void Listener::stop() {
  for (auto& io : impl_->threads) io->context.stop();
  for (auto& io : impl_->threads) {
    if (io->thread.joinable()) io->thread.join();
  }
}

}  // namespace aragora::http
