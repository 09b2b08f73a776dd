// A Redis client over net::Stream, TLS included (Debian's hiredis has none): hiredis formats commands and reads
// replies. One connection, one owner at a time. Every call has a deadline and ends when it is told to. Failures are
// Error(Unreachable) and name the host, never the password.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "common/base/secret.h"

namespace aragora::redis {

struct Reply {
  enum class Kind { Nil, Status, Error, Integer, Text, Array } kind = Kind::Nil;
  std::string text;
  std::int64_t integer = 0;
  std::vector<Reply> elements;
};

class Client {
 public:
  // redis://[user:password@]host[:port][/db] or …?db=N, or rediss://… (TLS 1.2+, certificate and name verified).
  // Throws Error(Config) when the URL is not one of these.
  Client(const Secret& url, std::chrono::milliseconds timeout, std::stop_token stop = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // An error reply is thrown as Error(Internal), as Error(Permission) when the user may not run the command.
  Reply command(const std::vector<std::string>& arguments);
  // Does it answer? One that says that this user may not ask has answered.
  void ping();
  // Field of INFO server, such as redis_version.
  std::string serverInfo(const std::string& field);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct Address {
  std::string host;
  std::uint16_t port = 6379;
  bool tls = false;
  std::string user;
  Secret password;
  int database = 0;
};
Address parseUrl(const Secret& url);

}  // namespace aragora::redis
