// Private to common/redis: one connection, opened, authenticated and in its database. hiredis formats commands and
// reads replies, net::Stream carries them, TLS included (Debian's hiredis has none). One owner at a time. Failures are
// Error(Unreachable | Permission), name the host and never the password.
#pragma once

#include <memory>
#include <optional>

#include "common/net/stream.h"
#include "common/redis/address.h"
#include "common/redis/reply.h"

struct redisReader;

namespace aragora::redis {

// As bytes, to be written.
std::string format(const Command& command);
// Throws what an error reply means: Error(Permission) when the user may not, Error(Internal) for the others.
void requireGood(const Reply& reply, const Address& address, std::string_view command);

class Wire {
 public:
  Wire(const Address& address, const net::Limits& limits);

  Reply call(const Command& command, const net::Limits& limits);
  // The next whole reply, waited for.
  Reply receive(const net::Limits& limits);
  void write(std::string_view bytes, const net::Limits& limits);
  // Takes what has come; without waiting. Whether there may be more of it.
  bool takeWhatCame();
  // The next whole reply of what was taken.
  std::optional<Reply> next();
  int descriptor() const { return stream_->descriptor(); }

 private:
  void signIn(const net::Limits& limits);
  void feed(std::size_t got);
  [[noreturn]] void unreachable(const std::string& reason) const;

  const Address& address_;
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<redisReader, void (*)(redisReader*)> reader_;
  std::size_t unread_ = 0;  // of an answer that is not whole yet, in bytes
  char buffer_[16384];
};

}  // namespace aragora::redis
