#include "common/redis/client.h"

#include <Poco/Exception.h>
#include <Poco/Net/Context.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/URI.h>
#include <hiredis/hiredis.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::redis {

namespace {
template <typename Refuse>
Poco::URI::QueryParameters parametersOf(const Poco::URI& uri, const Refuse& refuse) {
  try {
    return uri.getQueryParameters();
  } catch (const Poco::Exception&) {
    throw refuse("has a parameter that is not percent-encoded");
  }
}
}  // namespace

Address parseUrl(const Secret& url) {
  const auto refuse = [](const char* reason) -> Error {
    return {Code::Config, fmt::format("the Redis URL {}", reason),
            "write it as redis://[user:password@]host:6379/0, or rediss:// for TLS"};
  };
  Poco::URI uri;
  try {
    uri = Poco::URI(url.reveal());
  } catch (const Poco::Exception&) {
    throw refuse("cannot be read");  // the exception may quote it
  }
  if (uri.getScheme() != "redis" && uri.getScheme() != "rediss")
    throw refuse("has a scheme other than redis:// and rediss://");
  if (uri.getHost().empty()) throw refuse("names no host");
  Address address;
  address.host = uri.getHost();
  address.port = uri.getPort() != 0 ? uri.getPort() : 6379;
  address.tls = uri.getScheme() == "rediss";
  const auto user_info = uri.getUserInfo();
  if (const auto colon = user_info.find(':'); colon != std::string::npos) {
    try {
      Poco::URI::decode(user_info.substr(0, colon), address.user);
      std::string password;
      Poco::URI::decode(user_info.substr(colon + 1), password);
      address.password = Secret(std::move(password));
    } catch (const Poco::Exception&) {
      throw refuse("has a user or password that is not percent-encoded");
    }
  }
  if (const auto path = uri.getPath(); path.size() > 1) {
    const auto database = parseInteger(std::string_view(path).substr(1));
    if (!database || *database < 0 || *database > 1000000) throw refuse("has a path that is not a database number");
    address.database = static_cast<int>(*database);
  }
  for (const auto& [name, value] : parametersOf(uri, refuse)) {
    if (name != "db") throw refuse(fmt::format("has a parameter {} that is not known", printable(name, 40)).c_str());
    const auto database = parseInteger(value);
    if (!database || *database < 0 || *database > 1000000) throw refuse("has a db that is not a database number");
    if (uri.getPath().size() > 1 && *database != address.database) throw refuse("names two databases");
    address.database = static_cast<int>(*database);
  }
  return address;
}

struct Client::Impl {
  Address address;
  std::chrono::milliseconds timeout{};
  std::unique_ptr<Poco::Net::StreamSocket> socket;
  std::unique_ptr<redisReader, decltype(&redisReaderFree)> reader{redisReaderCreate(), redisReaderFree};

  [[noreturn]] void unreachable(const std::string& reason) const {
    throw Error(Code::Unreachable, fmt::format("Redis {}:{}: {}", address.host, address.port, reason),
                "check that Redis runs and that REDIS_URL is right");
  }

  static Reply convert(const redisReply& reply) {
    Reply result;
    switch (reply.type) {
      case REDIS_REPLY_STATUS:
        result.kind = Reply::Kind::Status;
        result.text.assign(reply.str, reply.len);
        break;
      case REDIS_REPLY_ERROR:
        result.kind = Reply::Kind::Error;
        result.text.assign(reply.str, reply.len);
        break;
      case REDIS_REPLY_INTEGER:
        result.kind = Reply::Kind::Integer;
        result.integer = reply.integer;
        break;
      case REDIS_REPLY_STRING:
        result.kind = Reply::Kind::Text;
        result.text.assign(reply.str, reply.len);
        break;
      case REDIS_REPLY_ARRAY:
        result.kind = Reply::Kind::Array;
        for (std::size_t i = 0; i < reply.elements; ++i) result.elements.push_back(convert(*reply.element[i]));
        break;
      default:
        break;
    }
    return result;
  }

  Reply call(const std::vector<std::string>& arguments) {
    std::vector<const char*> pointers;
    std::vector<std::size_t> lengths;
    for (const auto& argument : arguments) {
      pointers.push_back(argument.data());
      lengths.push_back(argument.size());
    }
    char* formatted = nullptr;
    const auto length =
        redisFormatCommandArgv(&formatted, static_cast<int>(arguments.size()), pointers.data(), lengths.data());
    if (length < 0) throw Error(Code::Internal, "cannot format a Redis command");
    const std::string bytes(formatted, static_cast<std::size_t>(length));
    redisFreeCommand(formatted);
    const auto deadline = deadlineIn(timeout);
    try {
      for (std::size_t sent = 0; sent < bytes.size();) {
        sent += static_cast<std::size_t>(socket->sendBytes(bytes.data() + sent, static_cast<int>(bytes.size() - sent)));
      }
      char buffer[16384];
      while (true) {
        void* reply = nullptr;
        if (redisReaderGetReply(reader.get(), &reply) != REDIS_OK)
          unreachable(fmt::format("not a Redis server: {}", printable(reader->errstr, 80)));
        if (reply != nullptr) {
          const std::unique_ptr<void, decltype(&freeReplyObject)> owner(reply, freeReplyObject);
          return convert(*static_cast<redisReply*>(reply));
        }
        if (remaining(deadline).count() == 0) unreachable("no answer in time");
        const int got = socket->receiveBytes(buffer, sizeof buffer);
        if (got <= 0) unreachable("the connection was closed");
        redisReaderFeed(reader.get(), buffer, static_cast<std::size_t>(got));
      }
    } catch (const Poco::Exception& error) {
      unreachable(error.displayText());
    }
  }
};

Client::Client(const Secret& url, std::chrono::milliseconds timeout) : impl_(std::make_unique<Impl>()) {
  impl_->address = parseUrl(url);
  impl_->timeout = timeout;
  const auto span = Poco::Timespan(timeout.count() * 1000);
  try {
    const Poco::Net::SocketAddress where(impl_->address.host, impl_->address.port);
    if (impl_->address.tls) {
      Poco::Net::Context::Ptr context =
          new Poco::Net::Context(Poco::Net::Context::TLS_CLIENT_USE, "", Poco::Net::Context::VERIFY_STRICT, 9, true);
      context->requireMinimumProtocol(Poco::Net::Context::PROTO_TLSV1_2);
      context->enableExtendedCertificateVerification(true);
      auto secure = std::make_unique<Poco::Net::SecureStreamSocket>(context);
      secure->setPeerHostName(impl_->address.host);
      secure->connect(where, span);
      impl_->socket = std::move(secure);
    } else {
      impl_->socket = std::make_unique<Poco::Net::StreamSocket>();
      impl_->socket->connect(where, span);
    }
    impl_->socket->setReceiveTimeout(span);
    impl_->socket->setSendTimeout(span);
    impl_->socket->setNoDelay(true);
  } catch (const Poco::Exception& error) {
    impl_->unreachable(error.displayText());
  }
  if (!impl_->address.password.empty()) {
    const auto& password = impl_->address.password.reveal();
    const auto reply = impl_->address.user.empty() ? impl_->call({"AUTH", password})
                                                   : impl_->call({"AUTH", impl_->address.user, password});
    if (reply.kind == Reply::Kind::Error) {
      throw Error(Code::Permission,
                  fmt::format("Redis {}:{} refused the password", impl_->address.host, impl_->address.port),
                  "check the password in REDIS_URL");
    }
  }
  if (impl_->address.database != 0) command({"SELECT", fmt::format("{}", impl_->address.database)});
}

Client::~Client() = default;

Reply Client::command(const std::vector<std::string>& arguments) {
  auto reply = impl_->call(arguments);
  if (reply.kind == Reply::Kind::Error) {
    const bool needs_password = startsWith(reply.text, "NOAUTH");
    const bool forbidden = startsWith(reply.text, "NOPERM");
    throw Error(needs_password || forbidden ? Code::Permission : Code::Internal,
                fmt::format("Redis {}:{} answered {}: {}", impl_->address.host, impl_->address.port, arguments.at(0),
                            printable(reply.text, 120)),
                needs_password ? "put the password into REDIS_URL"
                : forbidden    ? fmt::format("ACL SETUSER … +{}", lower(arguments.at(0)))
                               : "");
  }
  return reply;
}

void Client::ping() {
  const auto reply = impl_->call({"PING"});
  if (reply.kind == Reply::Kind::Error && !startsWith(reply.text, "NOPERM")) command({"PING"});  // says why
}

std::string Client::serverInfo(const std::string& field) {
  const auto reply = command({"INFO", "server"});
  for (const auto& line : split(reply.text, '\n')) {
    if (startsWith(line, field + ":")) return line.substr(field.size() + 1);
  }
  return {};
}

}  // namespace aragora::redis
