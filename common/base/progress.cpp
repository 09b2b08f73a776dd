#include "common/base/progress.h"

#include <cmath>

#include "common/base/text.h"

namespace aragora {

using std::chrono::seconds;

namespace {
constexpr auto kRateAfter = seconds(1);
constexpr auto kRemainingAfter = seconds(3);  // the first seconds say little of the others
constexpr auto kWindow = seconds(10);         // a rate is of the last so many
constexpr auto kSampleEvery = std::chrono::milliseconds(200);

double secondsBetween(ProgressView::Time from, ProgressView::Time to) {
  return std::chrono::duration<double>(to - from).count();
}
}  // namespace

void Progress::start() {
  ++state_.number;
  done_.store(0, std::memory_order_relaxed);
}

void Progress::within(std::string step) {
  const std::lock_guard lock(mutex_);
  start();
  state_.step = std::move(step);
  state_.phase = {};
}

void Progress::begin(Phase phase) {
  const std::lock_guard lock(mutex_);
  start();
  state_.phase = std::move(phase);
}

Progress::State Progress::state() const {
  const std::lock_guard lock(mutex_);
  auto state = state_;
  state.done = done_.load(std::memory_order_relaxed);
  return state;
}

void ProgressView::look(const Progress::State& state, Time now) {
  const bool begun_again = !samples_.empty() && state.done < samples_.back().done;
  if (state.number != number_ || begun_again) {
    number_ = state.number;
    since_ = now;
    samples_.clear();
  }
  if (samples_.empty() || now - samples_.back().at >= kSampleEvery) samples_.push_back({now, state.done});
  while (samples_.size() > 2 && now - samples_.front().at > kWindow) samples_.pop_front();
}

std::optional<double> ProgressView::rate() const {
  if (samples_.size() < 2 || samples_.back().at - since_ < kRateAfter) return std::nullopt;
  const auto& first = samples_.front();
  const auto& last = samples_.back();
  return static_cast<double>(last.done - first.done) / secondsBetween(first.at, last.at);
}

std::string ProgressView::numbers(const Progress::State& state, Time now) const {
  const auto& phase = state.phase;
  const bool bytes = phase.noun.empty();
  const bool in_total = phase.total > 0 && state.done <= phase.total;
  const auto so_far = [&] {
    return now - since_ < kRateAfter ? std::string()
                                     : humanSeconds(std::lround(secondsBetween(since_, now))) + " so far";
  };
  if (!in_total && state.done == 0) return so_far();
  const auto text = [&](std::uint64_t number) { return bytes ? humanBytes(number) : fmt::format("{}", number); };
  auto line = in_total ? fmt::format("{} of {}{}", text(state.done), phase.about ? "about " : "",
                                     bytes ? text(phase.total) : counted(phase.total, phase.noun))
              : bytes ? text(state.done)
                       : counted(state.done, phase.noun);
  const auto join = [&](const std::string& more) {
    if (!more.empty()) line += ", " + more;
  };
  if (!phase.even) {
    join(so_far());
    return line;
  }
  const auto pace = rate();
  if (!pace) return line;
  join(bytes ? humanRate(*pace) : fmt::format("{:.0f}/s", *pace));
  if (in_total && *pace > 0 && state.done < phase.total && now - since_ >= kRemainingAfter)
    join(fmt::format("{}{} left", phase.about ? "about " : "",
                     humanSeconds(std::llround(static_cast<double>(phase.total - state.done) / *pace))));
  return line;
}

std::optional<std::string> ProgressView::line(Time now) {
  const auto state = progress_.state();
  if (state.number == 0) return std::nullopt;
  look(state, now);
  auto said = state.step;
  if (!state.phase.what.empty()) said += (said.empty() ? "" : ": ") + state.phase.what;
  const auto more = numbers(state, now);
  return fmt::format("{}: {}{}{}", command_, said, said.empty() || more.empty() ? "" : ", ", more);
}

ProgressTeller::ProgressTeller(std::string command, const Progress& progress, Options options)
    : view_(std::move(command), progress), options_(std::move(options)), thread_([this] { run(); }) {}

ProgressTeller::~ProgressTeller() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (options_.at_both_ends) show();
}

void ProgressTeller::run() {
  if (options_.at_both_ends) show();
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, options_.interval, [this] { return stopping_; })) {
    lock.unlock();
    show();
    lock.lock();
  }
}

void ProgressTeller::show() {
  if (const auto line = view_.line(options_.now())) options_.show(*line);
}

}  // namespace aragora
