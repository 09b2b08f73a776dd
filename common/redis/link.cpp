#include "common/redis/link.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/names.h"
#include "common/redis/wire.h"

namespace aragora::redis {

namespace {
constexpr Names<LinkState, 3> kStates{
    {{LinkState::Away, "away"}, {LinkState::Slow, "slow"}, {LinkState::Connected, "connected"}}};
constexpr auto kLook = std::chrono::milliseconds(25);  // at what is late
constexpr int kManyBrief = 2;
constexpr auto kProven = std::chrono::milliseconds(500);  // that a connection has lasted
constexpr auto kQuiet = std::chrono::milliseconds(500);   // then it is asked whether it is there
constexpr auto kProbeWhileSlow = std::chrono::milliseconds(200);

int eventDescriptor() {
  const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0) throwSystemError(Code::Io, "create", "an event descriptor", errno);
  return made;
}
}  // namespace

std::string_view name(LinkState state) { return nameIn(kStates, state); }

Link::Link(LinkOptions options, OnState on_state, OnMessage on_message)
    : options_(std::move(options)),
      on_state_(std::move(on_state)),
      on_message_(std::move(on_message)),
      wake_(eventDescriptor()) {}

void Link::start() {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    ::pthread_setname_np(::pthread_self(), "redis");
    run(stop);
  });
}

void Link::stop() {
  if (thread_.joinable()) {
    thread_.request_stop();
    wake();
    thread_.join();
  }
  if (wake_ >= 0) ::close(std::exchange(wake_, -1));
}

bool Link::send(const Command& command, std::chrono::milliseconds within, Done done) {
  const auto bytes = format(command);
  const auto now = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    if (!open_ || waiting_ >= options_.most_waiting || unwritten_.size() + bytes.size() > options_.most_bytes)
      return false;
    ++waiting_;
    unwritten_ += bytes;
    unsent_.push_back({std::move(done), now, now + within});
    if (unsent_.size() > 1) return true;  // it was woken for the first
    wake();
  }
  return true;
}

void Link::awaitFirstAttempt(std::chrono::milliseconds span) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, span, [this] { return tried_; });
}

void Link::run(const std::stop_token& stop) {
  auto pause = options_.first_pause;
  while (!stop.stop_requested()) {
    try {
      serve(stop);
    } catch (const std::exception& error) {  // the thread's boundary
      if (state_ == LinkState::Away) ++failures_;
      if (opened_) brief_ = Clock::now() - *std::exchange(opened_, std::nullopt) < kProven ? brief_ + 1 : 0;
      if (brief_ == 0 && state_ != LinkState::Away) pause = options_.first_pause;
      lose(stop.stop_requested() ? "stopped" : error.what());
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, pause, [] { return false; });
    pause = std::min(pause * 2, options_.longest_pause);
  }
  lose("stopped");
}

void Link::serve(const std::stop_token& stop) {
  const net::Limits limits{deadlineIn(options_.connect), options_.connect, stop};
  Wire wire(options_.address, limits);
  if (!options_.channels.empty()) subscribe(wire, limits);
  last_sent_ = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    open_ = true;
  }
  failures_ = 0;
  opened_ = Clock::now();
  if (brief_ < kManyBrief) enter(LinkState::Connected);
  bool readable = true;
  while (!stop.stop_requested()) {
    const bool more = readable && read(wire);
    if (Clock::now() >= next_look_) {
      next_look_ = Clock::now() + kLook;
      giveUpLate();
      keepAlive();
      prove();
    }
    write(wire, stop);
    readable = await(wire, more) || more;
  }
}

// One confirmation a channel; a message on the first may come before the confirmation of the second.
void Link::subscribe(Wire& wire, const net::Limits& limits) {
  Command command{"SUBSCRIBE"};
  command.insert(command.end(), options_.channels.begin(), options_.channels.end());
  wire.write(format(command), limits);
  for (std::size_t confirmed = 0; confirmed < options_.channels.size();) {
    const auto reply = wire.receive(limits);
    requireGood(reply, options_.address, "SUBSCRIBE");
    if (!deliver(reply)) ++confirmed;
  }
}

// Whether it is a message, which nobody asked for.
bool Link::deliver(const Reply& reply) const {
  const auto& parts = reply.elements;
  if (options_.channels.empty() || parts.size() != 3 || parts[0].text != "message") return false;
  if (on_message_) on_message_(parts[2].text);
  return true;
}

bool Link::await(Wire& wire, bool only_look) const {
  pollfd entries[] = {{wire.descriptor(), POLLIN, 0}, {wake_, POLLIN, 0}};
  const auto span = only_look ? std::chrono::milliseconds(0) : unanswered_.empty() ? kQuiet / 2 : kLook;
  if (::poll(entries, std::size(entries), static_cast<int>(span.count())) <= 0) return false;
  std::uint64_t count = 0;
  if (entries[1].revents != 0) (void)!::read(wake_, &count, sizeof count);
  return entries[0].revents != 0;
}

void Link::write(Wire& wire, const std::stop_token& stop) {
  std::string bytes;
  {
    const std::lock_guard lock(mutex_);
    bytes.swap(unwritten_);
    for (auto& one : unsent_) unanswered_.push_back(std::move(one));
    unsent_.clear();
  }
  if (bytes.empty()) return;
  last_sent_ = Clock::now();
  wire.write(bytes, {deadlineIn(options_.silence), options_.silence, stop});
}

bool Link::read(Wire& wire) {
  const bool more = wire.takeWhatCame();
  while (const auto reply = wire.next()) answer(*reply);
  return more;
}

void Link::answer(const Reply& reply) {
  if (deliver(reply)) return;
  if (unanswered_.empty()) throw Error(Code::Unreachable, "Redis answered what nobody asked");
  const auto one = std::move(unanswered_.front());
  unanswered_.pop_front();
  {
    const std::lock_guard lock(mutex_);
    --waiting_;
  }
  if (state_ == LinkState::Slow && Clock::now() - one.sent < options_.prompt) enter(LinkState::Connected);
  if (!one.told && one.done) one.done(&reply);
}

void Link::giveUpLate() {
  const auto now = Clock::now();
  for (auto& one : unanswered_) {
    if (one.told || now < one.until) continue;
    one.told = true;
    if (state_ == LinkState::Connected && now - one.sent >= options_.prompt)
      enter(LinkState::Slow,
            fmt::format("Redis {}: no answer within {} ms", options_.address.text(), options_.prompt.count()));
    if (const auto done = std::exchange(one.done, {})) done(nullptr);
  }
  if (!unanswered_.empty() && now - unanswered_.front().sent >= options_.silence)
    throw Error(Code::Unreachable,
                fmt::format("Redis {}: no answer within {} ms", options_.address.text(), options_.silence.count()));
}

// After some that ended at once a connection has to last before it counts: whoever lets us in and then talks nonsense
// is not there and away in turns.
void Link::prove() {
  if (state_ == LinkState::Away && Clock::now() - *opened_ >= kProven && unanswered_.empty())
    enter(LinkState::Connected);
}

void Link::keepAlive() {
  const auto quiet = state_ == LinkState::Slow ? kProbeWhileSlow : kQuiet;
  if (Clock::now() - last_sent_ >= quiet) probe();
}

void Link::probe() {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  ++waiting_;
  unwritten_ += format({"PING"});
  unsent_.push_back({{}, now, now + options_.prompt});
  last_sent_ = now;
}

void Link::lose(const std::string& reason) {
  std::deque<Waiting> lost;
  {
    const std::lock_guard lock(mutex_);
    open_ = false;
    unwritten_.clear();
    lost.swap(unsent_);
    waiting_ = 0;
  }
  lost.insert(lost.begin(), std::make_move_iterator(unanswered_.begin()), std::make_move_iterator(unanswered_.end()));
  unanswered_.clear();
  enter(LinkState::Away, reason);
  for (const auto& one : lost) {
    if (!one.told && one.done) one.done(nullptr);
  }
}

void Link::enter(LinkState state, const std::string& reason) {
  const auto before = state_.exchange(state);
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = !std::exchange(tried_, true);
  }
  changed_.notify_all();
  const bool failed_again = state == LinkState::Away && failures_ > 0;
  if (on_state_ && (first || before != state || failed_again)) on_state_(state, reason);
}

void Link::wake() const {
  const std::uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
}

}  // namespace aragora::redis
