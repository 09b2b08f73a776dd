#include "daemon/cluster/shared_speech.h"

#include <pthread.h>

#include "common/base/ids.h"
#include "common/base/log.h"

namespace aragora::cluster {

namespace {
constexpr auto kBetweenBatches = std::chrono::milliseconds(25);
constexpr auto kAskAgain = std::chrono::seconds(5);  // three times before it is forgotten
constexpr auto kPublished = std::chrono::milliseconds(1000);
constexpr std::size_t kMostUnderWay = 1U << 20;  // bytes in the link, which others need, too
constexpr std::size_t kMostAskedFor = 2'000;     // debates; who listens to another one has its messages
}  // namespace

// Numbers begin with the time: should an instance ever get the name of one that was, it goes on behind it.
SharedSpeech::SharedSpeech(Sisters& sisters, SharedSpeechServices services)
    : sisters_(sisters),
      services_(std::move(services)),
      under_way_(std::make_shared<std::atomic<std::size_t>>(0)),
      number_(nowMicros()) {}

void SharedSpeech::start() {
  if (!sisters_.configured()) return;
  thread_ = std::jthread([this](const std::stop_token& stop) {
    ::pthread_setname_np(::pthread_self(), "speech");
    run(stop);
  });
}

void SharedSpeech::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void SharedSpeech::speak(const wire::Delta& delta) {
  {
    const std::lock_guard lock(mutex_);
    if (!ears_.any(delta.debate_id, Clock::now())) return;
    const bool first = unsent_.empty();
    if (!unsent_.add(delta)) return services_.lost.add();
    const bool last = delta.kind == wire::Delta::Kind::End;
    if (!first && (!last || at_once_)) return;  // it is awake
    at_once_ = at_once_ || last;
  }
  changed_.notify_all();
}

void SharedSpeech::asked(const std::string& debate_id, const std::string& instance) {
  if (!ulidTime(debate_id)) return;
  const std::lock_guard lock(mutex_);
  ears_.add(debate_id, instance, Clock::now());
}

void SharedSpeech::listen(const std::string& debate_id) {
  if (!sisters_.configured() || !ulidTime(debate_id)) return;  // clients may wait for anything
  {
    const std::lock_guard lock(mutex_);
    if (fresh_.size() >= kMostAskedFor) return;
    fresh_.insert(debate_id);
  }
  changed_.notify_all();
}

void SharedSpeech::askAgain() {
  {
    const std::lock_guard lock(mutex_);
    next_asking_ = Clock::now();
  }
  changed_.notify_all();
}

// What is damaged or forged does not open; what was heard before is not heard again.
void SharedSpeech::heard(const std::string& line) {
  const auto sealed = parseSpeech(line);
  if (!sealed) return;
  {
    const std::lock_guard lock(mutex_);
    if (asked_for_.count(sealed->debate_id) == 0) return;
  }
  const auto speech = open(*sealed, services_.instance, services_.keyring);
  if (!speech) return services_.lost.add();
  {
    const std::lock_guard lock(mutex_);
    const auto found = asked_for_.find(speech->debate_id);
    if (found == asked_for_.end()) return;
    auto& last = found->second[speech->from];
    if (speech->number <= last) return;
    last = speech->number;
  }
  for (const auto& delta : speech->deltas) services_.tell(delta);
}

void SharedSpeech::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    auto round = next(stop);
    if (stop.stop_requested()) return;
    try {
      ask(round);
      send(round);
    } catch (const std::exception& error) {  // the thread's boundary
      log::debug("parts of answers for other instances were lost: {}", error.what());
    }
  }
}

bool SharedSpeech::due() const {
  const auto now = Clock::now();
  return !fresh_.empty() || now >= next_asking_ || (!unsent_.empty() && (at_once_ || now >= next_batch_));
}

SharedSpeech::Round SharedSpeech::next(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested() && !due()) {
    const bool silent = unsent_.empty();
    changed_.wait_until(lock, stop, silent ? next_asking_ : std::min(next_asking_, next_batch_),
                        [this, silent] { return due() || silent != unsent_.empty(); });
  }
  const auto now = Clock::now();
  Round round;
  round.fresh = std::exchange(fresh_, {});
  if (now >= next_asking_) {
    round.all = true;
    next_asking_ = now + kAskAgain;
    ears_.forgetOld(now);
  }
  if (unsent_.empty() || (!at_once_ && now < next_batch_)) return round;
  at_once_ = false;
  next_batch_ = now + kBetweenBatches;
  round.said = unsent_.take();
  for (const auto& [debate_id, parts] : round.said) round.ears[debate_id] = ears_.of(debate_id, now);
  return round;
}

void SharedSpeech::ask(const Round& round) {
  if (round.fresh.empty() && !round.all) return;
  auto ids = round.fresh;
  if (round.all) {
    for (auto& id : services_.listened()) {
      if (ids.size() < kMostAskedFor && ulidTime(id)) ids.insert(std::move(id));
    }
  }
  std::erase_if(ids, [this](const auto& id) { return services_.runs_here(id); });
  {
    const std::lock_guard lock(mutex_);
    if (round.all) std::erase_if(asked_for_, [&ids](const auto& one) { return ids.count(one.first) == 0; });
    for (const auto& id : ids) {
      if (asked_for_.size() < 2 * kMostAskedFor) asked_for_.try_emplace(id);
    }
  }
  for (const auto& id : ids) sisters_.tell({.kind = HintKind::Listen, .debate_id = id});
}

void SharedSpeech::send(Round& round) {
  for (auto& [debate_id, parts] : round.said) {
    const auto& ears = round.ears[debate_id];
    for (auto& piece : inPieces(std::move(parts))) {
      Speech speech{services_.instance, {}, debate_id, ++number_, std::move(piece)};
      for (const auto& instance : ears) {
        speech.to = instance;
        publish(speech);
      }
    }
  }
}

void SharedSpeech::publish(const Speech& speech) {
  const auto lost = [counter = services_.lost, count = static_cast<double>(speech.deltas.size())] {
    counter.add(count);
  };
  auto* const link = sisters_.link();
  if (link->state() == redis::LinkState::Away || *under_way_ >= kMostUnderWay) return lost();
  const auto line = seal(speech, services_.keyring);
  *under_way_ += line.size();
  const bool taken = link->send({"PUBLISH", sisters_.speechChannel(speech.to), line}, kPublished,
                                [under_way = under_way_, size = line.size(), lost](const redis::Reply* reply) {
                                  *under_way -= size;
                                  if (reply == nullptr || reply->kind == redis::Reply::Kind::Error) lost();
                                });
  if (taken) return;
  *under_way_ -= line.size();
  lost();
}

}  // namespace aragora::cluster
