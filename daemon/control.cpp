#include "daemon/control.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::daemon {

namespace {
constexpr int kBacklog = 16;
constexpr std::size_t kQuestionLimit = 4096;
// For a question that should be there already, and an answer that is small.
constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::milliseconds kLook{50};

std::string usable(const fs::path& socket) {
  if (socket.string().size() >= sizeof(sockaddr_un::sun_path))
    throw Error(Code::CannotCreate, fmt::format("{} is too long for the name of a local socket", socket.string()));
  makeDirectories(socket.parent_path(), 0750);
  return socket.string();
}

// Empty when it did not come in time, or is none.
std::string readLine(int connection) {
  const auto deadline = deadlineIn(kPatience);
  std::string line;
  while (line.find('\n') == std::string::npos && line.size() < kQuestionLimit) {
    if (!interrupt::waitFor(connection, POLLIN, deadline)) return {};
    char buffer[512];
    const auto got = ::recv(connection, buffer, sizeof buffer, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return {};
    if (got > 0) line.append(buffer, static_cast<std::size_t>(got));
  }
  return line;
}

void writeAll(int connection, std::string_view text) {
  const auto deadline = deadlineIn(kPatience);
  while (!text.empty() && interrupt::waitFor(connection, POLLOUT, deadline)) {
    const auto sent = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return;
    if (sent > 0) text.remove_prefix(static_cast<std::size_t>(sent));
  }
}
}  // namespace

Control::Control(const fs::path& socket, Reload reload)
    : reload_(std::move(reload)), socket_(usable(socket), kBacklog) {
  ::chmod(socket.c_str(), 0600);
  thread_ = std::jthread([this] {
    ::pthread_setname_np(::pthread_self(), "control");
    serve();
  });
}

Control::~Control() {
  stopping_.turn();
  thread_.join();
}

void Control::serve() {
  const interrupt::Minding minding(stopping_);
  while (!stopping_.turned()) {
    try {
      if (!interrupt::waitFor(socket_.descriptor(), POLLIN, Deadline::max())) continue;
      const Fd connection(::accept4(socket_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (connection.get() >= 0) answer(connection.get());
    } catch (const Error& error) {
      if (!stopping_.turned()) log::warning("control socket: {}", error.what());
    } catch (const std::future_error&) {
      return;  // nobody is left to do it
    }
  }
}

void Control::answer(int connection) {
  const auto question = tryParseJson(readLine(connection));
  if (!question || !question->is_object()) return;
  auto promised = reload_(printable(jsonTextOr(question->as_object(), "actor", "unknown"), 200));
  while (promised.wait_for(kLook) != std::future_status::ready) interrupt::check();
  writeAll(connection, toJson(promised.get()) + "\n");
}

}  // namespace aragora::daemon
