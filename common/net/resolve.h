// Names to addresses. The C library's resolver can neither be stopped nor given a deadline, so that it runs in a thread
// of its own that may outlive the question; whoever asks for the same name meanwhile waits for the same answer.
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "common/net/limits.h"

namespace aragora::net {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

// "10.0.0.1", "fe80::1%eth0".
std::string numeric(const SocketAddress& address);
// In the order in which to try them, at least one. Throws Failure(NoSuchName, TooLate), Error(Interrupted).
std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port, const Limits& limits);

}  // namespace aragora::net
