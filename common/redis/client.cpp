#include "common/redis/client.h"

#include <hiredis/hiredis.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/net/failure.h"
#include "common/net/stream.h"
#include "common/net/url.h"

namespace aragora::redis {

namespace {
std::optional<int> databaseNumber(std::string_view text) {
  const auto number = parseInteger(text);
  return number && *number >= 0 && *number <= 1'000'000 ? std::optional(static_cast<int>(*number)) : std::nullopt;
}
}  // namespace

Address parseUrl(const Secret& url) {
  const auto refuse = [](const char* reason) -> Error {
    return {Code::Config, fmt::format("the Redis URL {}", reason),
            "write it as redis://[user:password@]host:6379/0, or rediss:// for TLS"};
  };
  const auto parsed = net::Url::parse(url.reveal());
  if (!parsed) throw refuse("cannot be read");  // without a quotation: it holds the password
  const auto& uri = *parsed;
  if (uri.scheme != "redis" && uri.scheme != "rediss") throw refuse("has a scheme other than redis:// and rediss://");
  if (uri.host.empty()) throw refuse("names no host");
  Address address;
  address.host = uri.host;
  address.port = uri.port != 0 ? uri.port : 6379;
  address.tls = uri.scheme == "rediss";
  if (const auto colon = uri.user_info.find(':'); colon != std::string::npos) {
    const auto user = net::percentDecoded(uri.user_info.substr(0, colon));
    const auto password = net::percentDecoded(uri.user_info.substr(colon + 1));
    if (!user || !password) throw refuse("has a user or password that is not percent-encoded");
    address.user = *user;
    address.password = Secret(*password);
  }
  const bool in_path = uri.path.size() > 1;
  if (in_path) {
    const auto database = databaseNumber(std::string_view(uri.path).substr(1));
    if (!database) throw refuse("has a path that is not a database number");
    address.database = *database;
  }
  const auto parameters = uri.parameters();
  if (!parameters) throw refuse("has a parameter that is not percent-encoded");
  for (const auto& [name, value] : *parameters) {
    if (name != "db") throw refuse(fmt::format("has a parameter {} that is not known", printable(name, 40)).c_str());
    const auto database = databaseNumber(value);
    if (!database) throw refuse("has a db that is not a database number");
    if (in_path && *database != address.database) throw refuse("names two databases");
    address.database = *database;
  }
  return address;
}

struct Client::Impl {
  Address address;
  std::chrono::milliseconds timeout{};
  std::stop_token stop;
  std::unique_ptr<net::Stream> stream;
  std::unique_ptr<redisReader, decltype(&redisReaderFree)> reader{redisReaderCreate(), redisReaderFree};

  [[noreturn]] void unreachable(const std::string& reason) const {
    throw Error(Code::Unreachable, fmt::format("Redis {}:{}: {}", address.host, address.port, reason),
                "check that Redis runs and that REDIS_URL is right");
  }

  // For one call; a connection counts as one.
  net::Limits limits() const { return {deadlineIn(timeout), timeout, stop}; }

  void connect() {
    try {
      const net::Target target{address.host, address.port, address.tls ? net::tlsContext() : nullptr};
      stream = std::make_unique<net::Stream>(target, limits());
    } catch (const net::Failure& failure) {
      fail(failure);
    }
  }

  [[noreturn]] static void fail(const net::Failure& failure) {
    throw Error(Code::Unreachable, fmt::format("Redis {}", failure.what()),
                failure.cause() == net::Cause::Untrusted ? failure.hint()
                                                         : "check that Redis runs and that REDIS_URL is right");
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
    const auto within = limits();
    try {
      stream->write(bytes, within);
      char buffer[16384];
      while (true) {
        void* reply = nullptr;
        if (redisReaderGetReply(reader.get(), &reply) != REDIS_OK)
          unreachable(fmt::format("not a Redis server: {}", printable(reader->errstr, 80)));
        if (reply != nullptr) {
          const std::unique_ptr<void, decltype(&freeReplyObject)> owner(reply, freeReplyObject);
          return convert(*static_cast<redisReply*>(reply));
        }
        const auto got = stream->read(buffer, sizeof buffer, within);
        if (got == 0) unreachable("the connection was closed");
        redisReaderFeed(reader.get(), buffer, got);
      }
    } catch (const net::Failure& failure) {
      fail(failure);
    }
  }
};

Client::Client(const Secret& url, std::chrono::milliseconds timeout, std::stop_token stop)
    : impl_(std::make_unique<Impl>()) {
  impl_->address = parseUrl(url);
  impl_->timeout = timeout;
  impl_->stop = std::move(stop);
  impl_->connect();
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
