#include "common/net/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "common/base/text.h"
#include "common/net/address.h"
#include "common/net/failure.h"

namespace aragora::net {

namespace {
struct Lookup {
  bool done = false;
  std::string problem;
  std::vector<SocketAddress> addresses;
};

// Shared by who asks and by the threads that look up.
struct Lookups {
  std::mutex mutex;
  std::condition_variable_any answered;
  std::map<std::string, std::shared_ptr<Lookup>> pending;
};

std::shared_ptr<Lookups> lookups() {
  static const auto shared = std::make_shared<Lookups>();
  return shared;
}

void setPort(SocketAddress& address, std::uint16_t port) {
  if (address.storage.ss_family == AF_INET6)
    reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = htons(port);
  else
    reinterpret_cast<sockaddr_in&>(address.storage).sin_port = htons(port);
}

Lookup ask(const std::string& host, int flags) {
  Lookup result;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (status != 0) {
    result.problem = ::gai_strerror(status);
    return result;
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
  for (const auto* entry = list; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress address;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.length = entry->ai_addrlen;
    result.addresses.push_back(address);
  }
  if (result.addresses.empty()) result.problem = "no address";
  return result;
}

std::shared_ptr<Lookup> lookUp(const std::string& host, const Limits& limits) {
  const auto all = lookups();
  std::unique_lock lock(all->mutex);
  auto& pending = all->pending[host];
  if (!pending) {
    pending = std::make_shared<Lookup>();
    std::thread([all, host, lookup = pending] {
      auto found = ask(host, AI_ADDRCONFIG);
      const std::lock_guard answering(all->mutex);
      *lookup = std::move(found);
      lookup->done = true;
      all->pending.erase(host);
      all->answered.notify_all();
    }).detach();
  }
  const auto lookup = pending;
  const auto until = std::min(limits.deadline, deadlineIn(limits.patience));
  while (!lookup->done) {
    checkStopped(limits.stop);
    if (remaining(until).count() == 0)
      throw Failure(Cause::TooLate, fmt::format("{}: no name server answered in time", printable(host, 120)));
    // In slices: a signal to a command wakes nobody here.
    all->answered.wait_until(lock, limits.stop, std::min(until, deadlineIn(std::chrono::milliseconds(50))),
                             [&] { return lookup->done; });
  }
  return lookup;
}
}  // namespace

std::string numeric(const SocketAddress& address) {
  char text[NI_MAXHOST];
  const int status = ::getnameinfo(reinterpret_cast<const sockaddr*>(&address.storage), address.length, text,
                                   sizeof text, nullptr, 0, NI_NUMERICHOST);
  if (status != 0) throw Failure(Cause::NoSuchName, fmt::format("no address: {}", ::gai_strerror(status)));
  return text;
}

std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port, const Limits& limits) {
  checkStopped(limits.stop);
  const auto lookup = Ip::parse(host) ? std::make_shared<Lookup>(ask(host, AI_NUMERICHOST)) : lookUp(host, limits);
  if (lookup->addresses.empty())
    throw Failure(Cause::NoSuchName, fmt::format("{}: {}", printable(host, 120), lookup->problem),
                  "check the name, and /etc/resolv.conf");
  auto addresses = lookup->addresses;
  // Secrets are said to it in clear, and a hosts file or a name server may say anything (RFC 6761, 6.3).
  if (host == "localhost")
    std::erase_if(addresses, [](const SocketAddress& address) { return !Ip::parse(numeric(address))->loopback(); });
  if (addresses.empty())
    throw Failure(Cause::NoSuchName, "localhost: its address is not one of this machine", "see /etc/hosts");
  for (auto& address : addresses) setPort(address, port);
  return addresses;
}

}  // namespace aragora::net
