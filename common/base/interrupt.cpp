#include "common/base/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "common/base/clock.h"
#include "common/base/error.h"

namespace aragora::interrupt {

namespace {
constexpr auto kPatience = std::chrono::seconds(5);
constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

// What a handler may touch.
std::atomic<int> came{0};
std::atomic<int> how_often{0};
std::atomic<int> event{-1};

std::mutex mutex;
std::list<std::function<void()>*> obligations;  // oldest first
std::vector<std::string> gone;
std::vector<std::string> staying;

thread_local int shields = 0;
thread_local std::optional<Switch> heeded;

constexpr auto kLongestPoll = std::chrono::milliseconds(60'000);

void handle(int number) {
  int none = 0;
  came.compare_exchange_strong(none, number);
  ++how_often;
  const std::uint64_t one = 1;
  (void)!::write(event, &one, sizeof one);
}

void await() {
  pollfd entry{event, POLLIN, 0};
  while (::poll(&entry, 1, -1) < 1) continue;
}

// Default disposition, as if nobody had been watching.
void dieOfIt() {
  ::signal(came, SIG_DFL);
  ::kill(::getpid(), came);
}

void removeByForce() {
  const std::lock_guard lock(mutex);
  // What was started last uses what was made before it.
  for (auto one = obligations.rbegin(); one != obligations.rend(); ++one) (**one)();
}

void watchOver() {
  await();
  {
    const std::lock_guard lock(mutex);
    if (obligations.empty()) return dieOfIt();
  }
  const auto deadline = deadlineIn(kPatience);
  while (how_often < 2 && remaining(deadline).count() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  removeByForce();
  std::fprintf(stderr, "aragora: %s\n", summary().c_str());
  ::_exit(info(Code::Interrupted).exit_status);
}

const char* nameOf(int number) {
  return number == SIGINT    ? "SIGINT"
         : number == SIGTERM ? "SIGTERM"
         : number == SIGHUP  ? "SIGHUP"
         : number == SIGQUIT ? "SIGQUIT"
                             : "nothing";
}
}  // namespace

void watch() {
  event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) throwSystemError(Code::Io, "create", "an event descriptor", errno);
  for (const int number : kSignals) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    action.sa_handler = handle;
    ::sigaction(number, &action, nullptr);
  }
  // Born with every signal blocked: the daemon waits for them with sigwait, and none may end up here.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(watchOver).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::optional<int> signal() { return came == 0 ? std::nullopt : std::optional(came.load()); }

bool due() { return (came != 0 || (heeded && heeded->turned())) && shields == 0 && std::uncaught_exceptions() == 0; }

void check() {
  if (!due()) return;
  throw Error(Code::Interrupted, came != 0 ? fmt::format("interrupted by {}", nameOf(came)) : std::string("stopped"));
}

// What was asked for once stays readable: whoever tidies up meanwhile is not to be woken by it.
bool waitFor(int descriptor, short events, Deadline deadline) {
  while (true) {
    check();
    const auto span = std::min(remaining(deadline), kLongestPoll);
    pollfd entries[] = {{descriptor, events, 0},
                        {came == 0 ? event.load() : -1, POLLIN, 0},
                        {heeded && !heeded->turned() ? heeded->descriptor() : -1, POLLIN, 0}};
    const int ready = ::poll(entries, std::size(entries), static_cast<int>(span.count()));
    if (ready < 0 && errno != EINTR) throwSystemError(Code::Io, "poll", "a descriptor", errno);
    if (ready > 0 && entries[0].revents != 0) return true;
    if (ready == 0 && remaining(deadline).count() == 0) return false;
  }
}

Switch::Switch()
    : event_(new int(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), [](const int* made) {
        ::close(*made);
        delete made;
      }) {
  if (*event_ < 0) throwSystemError(Code::Io, "create", "an event descriptor", errno);
}

void Switch::turn() const {
  auto source = source_;
  source.request_stop();
  const std::uint64_t one = 1;
  (void)!::write(*event_, &one, sizeof one);
}

bool Switch::waitFor(std::chrono::milliseconds span) const {
  const auto deadline = deadlineIn(span);
  pollfd entry{*event_, POLLIN, 0};
  while (!turned() && remaining(deadline).count() > 0)
    ::poll(&entry, 1, static_cast<int>(std::min(remaining(deadline), kLongestPoll).count()));
  return turned();
}

Minding::Minding(std::optional<Switch> which) : before_(std::exchange(heeded, std::move(which))) {}
Minding::~Minding() { heeded = std::move(before_); }

std::optional<Switch> minded() { return heeded; }
std::stop_token token() { return heeded ? heeded->token() : std::stop_token(); }

Shield::Shield() { ++shields; }
Shield::~Shield() { --shields; }

Obligation::Obligation(std::function<void()> by_force) : by_force_(std::move(by_force)) {
  const std::lock_guard lock(mutex);
  place_ = obligations.insert(obligations.end(), &by_force_);
}

Obligation::~Obligation() {
  const std::lock_guard lock(mutex);
  obligations.erase(place_);
}

namespace {
std::mutex gone_mutex;
}

void removed(const std::string& what) {
  if (came == 0) return;
  const std::lock_guard lock(gone_mutex);
  gone.push_back(what);
}

void remains(const std::string& what) {
  if (came == 0) return;
  const std::lock_guard lock(gone_mutex);
  staying.push_back(what);
}

std::string summary() {
  const std::lock_guard lock(gone_mutex);
  auto text = fmt::format("interrupted by {}", nameOf(came));
  if (!gone.empty()) text += fmt::format("; removed {}", fmt::join(gone, ", "));
  if (!staying.empty()) text += fmt::format("; may still be there: {}", fmt::join(staying, ", "));
  if (gone.empty() && staying.empty()) text += "; nothing was left behind";
  return text;
}

}  // namespace aragora::interrupt
