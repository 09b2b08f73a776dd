// A Redis client for commands and checks: one connection, one owner at a time, every call waits for its answer, has a
// deadline and ends when it is told to. What runs for long and must not wait uses a Link. Failures are
// Error(Unreachable) and name the host, never the password.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>

#include "common/redis/address.h"
#include "common/redis/reply.h"

namespace aragora::redis {

class Wire;

class Client {
 public:
  // Throws Error(Config) for a URL that cannot be read.
  Client(const Secret& url, std::chrono::milliseconds timeout, std::stop_token stop = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // An error reply is thrown as Error(Internal), as Error(Permission) when the user may not run the command.
  Reply command(const Command& arguments);
  // Does it answer? One that says that this user may not ask has answered.
  void ping();
  // Field of INFO server, such as redis_version.
  std::string serverInfo(const std::string& field);

 private:
  Reply call(const Command& arguments);
  Address address_;
  std::chrono::milliseconds timeout_;
  std::stop_token stop_;
  std::unique_ptr<Wire> wire_;
};

}  // namespace aragora::redis
