#include "common/base/log_queue.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/format.h>

#include <chrono>
#include <climits>
#include <cstring>
#include <utility>

namespace aragora::log {

namespace {
constexpr std::size_t kMostBytes = 2U << 20;
constexpr std::size_t kMostOfWhatMayBeLeftOut = 1U << 20;
constexpr auto kLastWrites = std::chrono::milliseconds(250);
constexpr auto kTogether = std::chrono::milliseconds(2);  // lines of requests wait for more, so that few wake us
constexpr int kLook = 20;                                 // milliseconds between looks whether to give up
constexpr int kJournalBusy = 1;                           // milliseconds until it is tried again

// What is left of a datagram where there is no journal: "MESSAGE=…", "PRIORITY=N" are its first lines.
std::string withoutFields(std::string_view datagram) {
  constexpr std::string_view kMessage = "MESSAGE=";
  constexpr std::string_view kPriority = "\nPRIORITY=";
  const auto end = datagram.find(kPriority);
  return fmt::format("<{}>{}\n", datagram.substr(end + kPriority.size(), 1),
                     datagram.substr(kMessage.size(), end - kMessage.size()));
}

std::int64_t now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }
}  // namespace

Queue::Queue() : journal_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Queue::~Queue() {
  give_up_at_ = now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(kLastWrites).count();
  thread_.request_stop();
  thread_.join();
  if (journal_ >= 0) ::close(journal_);
}

bool Queue::put(std::string line, Way way, bool may_be_left_out) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (bytes_ + line.size() > (may_be_left_out ? kMostOfWhatMayBeLeftOut : kMostBytes)) return false;
    const bool at_once = !may_be_left_out && !std::exchange(at_once_, true);
    wake = lines_.empty() || at_once;
    bytes_ += line.size();
    lines_.push_back({std::move(line), way});
  }
  if (wake) arrived_.notify_one();
  return true;
}

void Queue::run(const std::stop_token& stop) {
  ::pthread_setname_np(::pthread_self(), "log");
  std::vector<Waiting> lines;
  std::unique_lock lock(mutex_);
  while (true) {
    arrived_.wait(lock, stop, [this] { return !lines_.empty(); });
    if (lines_.empty()) return;
    arrived_.wait_for(lock, stop, kTogether, [this] { return at_once_; });
    at_once_ = false;
    lines.swap(lines_);
    lock.unlock();
    writeAll(lines);
    lock.lock();
    for (const auto& line : lines) bytes_ -= line.text.size();
    lines.clear();
  }
}

void Queue::writeAll(const std::vector<Waiting>& lines) {
  std::string together;
  const auto flush = [&] {
    if (!together.empty()) toStderr(together);
    together.clear();
  };
  // As many as a pipe takes at once or not at all: whoever else writes there is not in the middle of a line.
  const auto add = [&](const std::string& text) {
    if (together.size() + text.size() > PIPE_BUF) flush();
    together += text;
  };
  for (const auto& line : lines) {
    if (line.way == Way::Stderr)
      add(line.text);
    else if (!toJournal(line.text))
      add(withoutFields(line.text));
  }
  flush();
}

bool Queue::writable(int descriptor) const {
  while (now() < give_up_at_) {
    pollfd waiting{descriptor, POLLOUT, 0};
    if (::poll(&waiting, 1, kLook) > 0) return true;
  }
  return false;
}

void Queue::toStderr(std::string_view text) const {
  while (!text.empty() && writable(STDERR_FILENO)) {
    const auto written = ::write(STDERR_FILENO, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (written < 0 && errno != EINTR && errno != EAGAIN) return;
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// False when there is no journal: what was said is not lost then, if without its fields.
bool Queue::toJournal(std::string_view text) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/run/systemd/journal/socket");
  while (journal_ >= 0) {
    if (::sendto(journal_, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address), sizeof address) >= 0)
      return true;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || now() >= give_up_at_) return false;
    ::poll(nullptr, 0, kJournalBusy);
  }
  return false;
}

}  // namespace aragora::log
