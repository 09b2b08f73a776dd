// A TCP server on loopback whose every connection is a function of the test: what it reads and says, and when it hangs
// up. Each runs in a thread of its own; the destructor ends them all.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/base/file.h"

namespace aragora::test {

class Connection {
 public:
  Connection(int fd, int number, const std::atomic<bool>& stopping) : fd_(fd), number_(number), stopping_(stopping) {}
  int number() const { return number_; }  // the first is 1

  // Head and body of a request; empty when there is none any more.
  std::string request() {
    std::string text;
    std::size_t wanted = std::string::npos;
    while (text.size() < wanted) {
      char buffer[4096];
      const auto got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (got <= 0) return {};
      text.append(buffer, static_cast<std::size_t>(got));
      const auto end = text.find("\r\n\r\n");
      if (wanted != std::string::npos || end == std::string::npos) continue;
      const auto length = text.find("Content-Length: ");
      wanted = end + 4 + (length < end ? std::stoul(text.substr(length + 16)) : 0);
    }
    return text;
  }
  bool say(const std::string& text) {
    return ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  void answer(const std::string& body, const std::string& more = "", int status = 200) {
    say("HTTP/1.1 " + std::to_string(status) + " Said\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
        more + "\r\n" + body);
  }
  // A byte again and again, until nobody listens.
  void drip(const std::string& byte, std::chrono::milliseconds every) {
    while (wait(every) && say(byte)) continue;
  }
  // False when the server is to end, or the other side hung up.
  bool wait(std::chrono::milliseconds span) {
    const auto until = deadlineIn(span);
    while (!stopping_ && remaining(until).count() > 0) {
      pollfd entry{fd_.get(), POLLRDHUP, 0};
      if (::poll(&entry, 1, 5) > 0) return false;
    }
    return !stopping_;
  }
  void hold() { wait(std::chrono::minutes(1)); }

 private:
  Fd fd_;
  int number_;
  const std::atomic<bool>& stopping_;
};

class ScriptedServer {
 public:
  using Script = std::function<void(Connection&)>;
  explicit ScriptedServer(Script script) : script_(std::move(script)) {
    listening_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listening_.get(), generic, length) != 0 || ::listen(listening_.get(), 64) != 0 ||
        ::getsockname(listening_.get(), generic, &length) != 0)
      std::abort();
    port_ = ntohs(address.sin_port);
    accepting_ = std::jthread([this] { accept(); });
  }
  ~ScriptedServer() {
    stopping_ = true;
    ::shutdown(listening_.get(), SHUT_RDWR);
    accepting_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    threads_.clear();
  }
  std::uint16_t port() const { return port_; }
  int connections() const { return connections_; }
  std::string url(const std::string& path = "/") const { return "http://127.0.0.1:" + std::to_string(port_) + path; }

 private:
  void accept() {
    while (true) {
      const int fd = ::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const int number = ++connections_;
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd, number] {
        Connection connection(fd, number, stopping_);
        script_(connection);
        const std::lock_guard closing(mutex_);
        std::erase(open_, fd);
      });
    }
  }
  Script script_;
  Fd listening_;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::jthread> threads_;
  std::jthread accepting_;
};

}  // namespace aragora::test
