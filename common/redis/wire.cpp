#include "common/redis/wire.h"

#include <hiredis/hiredis.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/net/failure.h"

namespace aragora::redis {

namespace {
constexpr std::size_t kMostAtOnce = 64;  // reads: whoever sends without end must not keep us from everything else
constexpr std::size_t kLongestAnswer = 4U << 20;  // bytes
constexpr int kMostElements = 100'000;
constexpr std::string_view kAdvice = "check that Redis runs and that REDIS_URL is right";

Reply convert(const redisReply& reply) {
  Reply result;
  switch (reply.type) {
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
    case REDIS_REPLY_STRING:
      result.kind = reply.type == REDIS_REPLY_STATUS  ? Reply::Kind::Status
                    : reply.type == REDIS_REPLY_ERROR ? Reply::Kind::Error
                                                      : Reply::Kind::Text;
      result.text.assign(reply.str, reply.len);
      break;
    case REDIS_REPLY_INTEGER:
      result.kind = Reply::Kind::Integer;
      result.integer = reply.integer;
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

// hiredis makes room for as many elements as an answer says it has, and walks over all of it to let it go.
redisReplyObjectFunctions* boundedFunctions() {
  static const auto* const original =
      std::unique_ptr<redisReader, void (*)(redisReader*)>(redisReaderCreate(), redisReaderFree)
          ->fn;  // the library's table
  static redisReplyObjectFunctions bounded = [] {
    auto functions = *original;
    functions.createArray = [](const redisReadTask* task, auto elements) -> void* {
      return elements > kMostElements ? nullptr : original->createArray(task, elements);
    };
    return functions;
  }();
  return &bounded;
}

// Runs what may throw net::Failure, and says it in the words of this room.
template <typename Work>
auto speaking(const Work& work) {
  try {
    return work();
  } catch (const net::Failure& failure) {
    throw Error(Code::Unreachable, fmt::format("Redis {}", failure.what()),
                failure.cause() == net::Cause::Untrusted ? failure.hint() : std::string(kAdvice));
  }
}
}  // namespace

std::string format(const Command& command) {
  std::vector<const char*> pointers;
  std::vector<std::size_t> lengths;
  for (const auto& argument : command) {
    pointers.push_back(argument.data());
    lengths.push_back(argument.size());
  }
  char* formatted = nullptr;
  const auto length =
      redisFormatCommandArgv(&formatted, static_cast<int>(command.size()), pointers.data(), lengths.data());
  if (length < 0) throw Error(Code::Internal, "cannot format a Redis command");
  std::string bytes(formatted, static_cast<std::size_t>(length));
  redisFreeCommand(formatted);
  return bytes;
}

void requireGood(const Reply& reply, const Address& address, std::string_view command) {
  if (reply.kind != Reply::Kind::Error) return;
  const bool needs_password = startsWith(reply.text, "NOAUTH");
  const bool forbidden = startsWith(reply.text, "NOPERM");
  throw Error(needs_password || forbidden ? Code::Permission : Code::Internal,
              fmt::format("Redis {} answered {}: {}", address.text(), command, printable(reply.text, 120)),
              needs_password ? "put the password into REDIS_URL"
              : forbidden    ? fmt::format("ACL SETUSER … +{}", lower(command))
                             : "");
}

Wire::Wire(const Address& address, const net::Limits& limits)
    : address_(address), reader_(redisReaderCreate(), redisReaderFree) {
  reader_->fn = boundedFunctions();
  speaking([&] {
    net::Target target{address.host, address.port, address.tls ? net::tlsContext() : nullptr, address.path};
    stream_ = std::make_unique<net::Stream>(std::move(target), limits);
  });
  signIn(limits);
}

void Wire::signIn(const net::Limits& limits) {
  if (!address_.password.empty()) {
    const auto& password = address_.password.reveal();
    const auto reply =
        call(address_.user.empty() ? Command{"AUTH", password} : Command{"AUTH", address_.user, password}, limits);
    if (reply.kind == Reply::Kind::Error)
      throw Error(Code::Permission, fmt::format("Redis {} refused the password", address_.text()),
                  "check the password in REDIS_URL");
  }
  if (address_.database != 0)
    requireGood(call({"SELECT", fmt::format("{}", address_.database)}, limits), address_, "SELECT");
}

Reply Wire::call(const Command& command, const net::Limits& limits) {
  write(format(command), limits);
  return receive(limits);
}

Reply Wire::receive(const net::Limits& limits) {
  while (true) {
    if (auto reply = next()) return std::move(*reply);
    feed(speaking([&] { return stream_->read(buffer_, sizeof buffer_, limits); }));
  }
}

void Wire::write(std::string_view bytes, const net::Limits& limits) {
  speaking([&] { stream_->write(bytes, limits); });
}

bool Wire::takeWhatCame() {
  for (std::size_t turn = 0; turn < kMostAtOnce; ++turn) {
    const auto got = speaking([&] { return stream_->readNow(buffer_, sizeof buffer_); });
    if (!got) return false;
    feed(*got);
    if (!address_.tls && *got < sizeof buffer_) return false;  // what comes now is told by the next poll
  }
  return true;
}

void Wire::feed(std::size_t got) {
  if (got == 0) unreachable("the connection was closed");
  if ((unread_ += got) > kLongestAnswer) unreachable("an answer without end");
  redisReaderFeed(reader_.get(), buffer_, got);
}

std::optional<Reply> Wire::next() {
  void* reply = nullptr;
  if (redisReaderGetReply(reader_.get(), &reply) != REDIS_OK)
    unreachable(fmt::format("not a Redis server: {}", printable(reader_->errstr, 80)));
  if (reply == nullptr) return std::nullopt;
  unread_ = 0;
  const std::unique_ptr<void, decltype(&freeReplyObject)> owner(reply, freeReplyObject);
  return convert(*static_cast<redisReply*>(reply));
}

void Wire::unreachable(const std::string& reason) const {
  throw Error(Code::Unreachable, fmt::format("Redis {}: {}", address_.text(), reason), std::string(kAdvice));
}

}  // namespace aragora::redis
