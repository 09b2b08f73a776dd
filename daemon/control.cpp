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
constexpr int kBacklog = 128;
constexpr std::size_t kMostAskers = 256;
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
}  // namespace

// Who connected: asks, waits, is answered.
struct Control::Asker {
  Fd connection;
  Deadline until = deadlineIn(kPatience);  // of the question, then of the answer
  std::string question{};
  std::future<json::object> promised{};
  std::string answer{};

  bool waits() const { return promised.valid(); }
  // False when it hung up, or says too much.
  bool read() {
    char buffer[512];
    const auto got = ::recv(connection.get(), buffer, sizeof buffer, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (got > 0) question.append(buffer, static_cast<std::size_t>(got));
    return question.size() < kQuestionLimit || question.find('\n') != std::string::npos;
  }
  bool write() {
    const auto sent = ::send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    if (sent > 0) answer.erase(0, static_cast<std::size_t>(sent));
    return !answer.empty() && (sent >= 0 || errno == EAGAIN || errno == EINTR);
  }
};

Control::Control(const fs::path& socket, Reload reload, Tell tell)
    : reload_(std::move(reload)), tell_(std::move(tell)), socket_(usable(socket), kBacklog) {
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
  std::list<Asker> askers;
  while (!stopping_.turned()) {
    try {
      wait(askers);
      if (stopping_.turned()) return;
      askers.remove_if([this](Asker& one) { return !goOn(one); });
      take(askers);
    } catch (const Error& error) {
      if (!stopping_.turned()) log::warning("control socket: {}", error.what());
    }
  }
}

// Until somebody comes, says or takes something; for what was promised and for deadlines it looks every now and then.
void Control::wait(const std::list<Asker>& askers) const {
  std::vector<pollfd> all{{stopping_.descriptor(), POLLIN, 0}};
  if (askers.size() < kMostAskers) all.push_back({socket_.descriptor(), POLLIN, 0});
  for (const auto& one : askers) {
    if (!one.waits())
      all.push_back({one.connection.get(), static_cast<short>(one.answer.empty() ? POLLIN : POLLOUT), 0});
  }
  (void)::poll(all.data(), all.size(), askers.empty() ? -1 : static_cast<int>(kLook.count()));
}

void Control::take(std::list<Asker>& askers) const {
  while (askers.size() < kMostAskers) {
    Fd connection(::accept4(socket_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.get() < 0) {
      if (errno == EMFILE || errno == ENFILE) (void)stopping_.waitFor(kLook);  // it stays readable
      return;
    }
    askers.push_back({std::move(connection)});
  }
}

// False when this one is done with.
bool Control::goOn(Asker& asker) const {
  if (asker.waits()) {
    if (asker.promised.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return true;
    try {
      asker.answer = toJson(asker.promised.get()) + "\n";
    } catch (const std::future_error&) {
      return false;  // nobody is left to do it
    }
    asker.until = deadlineIn(kPatience);
  }
  if (remaining(asker.until).count() == 0) return false;
  if (!asker.answer.empty()) return asker.write();
  if (!asker.read()) return false;
  if (asker.question.find('\n') == std::string::npos) return true;
  const auto question = tryParseJson(asker.question);
  if (!question || !question->is_object()) return false;
  if (const auto ask = jsonTextOr(question->as_object(), "ask", ""); !ask.empty()) {
    if (ask != "providers") return false;  // of another version
    asker.answer = toJson(tell_()) + "\n";
    return true;
  }
  asker.promised = reload_(printable(jsonTextOr(question->as_object(), "actor", "unknown"), 200));
  return true;
}

}  // namespace aragora::daemon
