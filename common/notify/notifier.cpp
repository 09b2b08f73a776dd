#include "common/notify/notifier.h"

#include <algorithm>
#include <set>

#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::notify {

namespace {
constexpr auto kForPeople = {Channel::Webhook, Channel::Email};
constexpr std::chrono::milliseconds kLook{100};
// With less left a slow receiver could not answer, and nobody would know whether it took it.
constexpr std::chrono::seconds kWorthBeginning{20};
constexpr std::chrono::seconds kWorthWaiting{5};
}  // namespace

std::vector<Channel> Notifier::channels() const {
  std::vector<Channel> all;
  std::copy_if(kForPeople.begin(), kForPeople.end(), std::back_inserter(all),
               [&](Channel one) { return options_.has(one); });
  return all;
}

// One that hangs leaves the others their time.
std::vector<Outcome> Notifier::tell(const Event& event, const Until& until) {
  std::vector<Outcome> outcomes;
  const auto all = channels();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto share = remaining(until.deadline) / static_cast<std::int64_t>(all.size() - i);
    outcomes.push_back(tellOn(all[i], event, {std::min(until.deadline, deadlineIn(share)), until.stop}));
  }
  return outcomes;
}

// Somebody who heard that it is over and then that it began would wait for ever: what was kept of the same thing goes
// first, and behind what stays kept this is kept.
Outcome Notifier::tellOn(Channel channel, const Event& event, const Until& until) {
  std::optional<FileLock> turn;
  std::optional<Outcome> held;
  try {
    turn = turnOn(channel, until);
    held = turn ? tellEarlier(channel, event.what.key, until)
                : Outcome{channel, "this machine", false, "another process tells by it just now"};
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    log::debug("nothing can be kept: {}", error.what());  // so nothing is that would go first
  }
  auto outcome = held ? *held : deliver(options_, channel, event, until);
  if (outcome.delivered) return outcome;
  try {
    kept_.keep(channel, event, options_.sender, outcome.answer, outcome.unsure);
    outcome.kept = true;
  } catch (const Error& error) {
    outcome.lost = error.what();
  }
  return outcome;
}

std::optional<FileLock> Notifier::turnOn(Channel channel, const Until& until) const {
  auto lock = kept_.lock(channel);
  while (!lock && remaining(until.deadline) > kWorthWaiting) {
    net::pause(kLook, until.stop);
    lock = kept_.lock(channel);
  }
  return lock;
}

// What keeps others of that key waiting; nullopt when nothing does.
std::optional<Outcome> Notifier::tellEarlier(Channel channel, std::string_view key, const Until& until) {
  for (const auto& one : kept_.of(channel)) {
    if (one.event.what.key != key) continue;
    const auto outcome = tellOne(one, until);
    if (outcome.kept)
      return Outcome{channel, outcome.place, false, fmt::format("an earlier one goes first: {}", outcome.answer)};
  }
  return std::nullopt;
}

Outcome Notifier::tellOne(const KeptEvent& one, const Until& until) {
  auto outcome = deliver(options_, one.channel, one.event, until, 1);
  if (outcome.delivered) {
    kept_.remove(one);
  } else {
    kept_.postpone(one, options_.sender, outcome.answer, outcome.unsure);
    std::error_code ignored;
    outcome.kept = fs::exists(one.file, ignored);
  }
  const bool heard = outcome.delivered || (outcome.unsure && !outcome.kept);
  if (heard && one.event.state != State::Recovered) told_.heard(one.event.what.key, nowMicros());
  return outcome;
}

bool Notifier::waits(std::string_view key) const {
  const auto all = channels();
  return std::any_of(all.begin(), all.end(), [&](Channel one) { return kept_.holds(one, key); });
}

// On every channel, and no worse than it is now.
bool Notifier::waitsEverywhere(const Problem& problem) const {
  const auto all = channels();
  const auto known = told_.find(problem.key);
  return known && known->what.weight >= problem.weight &&
         std::all_of(all.begin(), all.end(), [&](Channel one) { return kept_.holds(one, problem.key); });
}

bool Notifier::knowsRun(const std::string& invocation) const {
  const auto known = told_.ofRun(invocation);
  return known && (known->told_at > 0 || waits(known->what.key));
}

// Nobody can be told of what cannot be written down: it is told anew then, rather than not at all.
std::vector<Outcome> Notifier::report(const Problem& problem, const Until& until, const std::string& invocation) {
  if (!options_.tellsPeople()) return {};
  const auto due = told_.due(problem, options_.remind, nowMicros());
  std::vector<Outcome> outcomes;
  bool told = false;
  if (due && !waitsEverywhere(problem)) {
    const auto known = told_.find(problem.key);
    outcomes = tell(makeEvent(*due, problem, known ? known->since : 0), until);
    told = std::any_of(outcomes.begin(), outcomes.end(), [](const Outcome& one) { return one.delivered; }) &&
           std::all_of(outcomes.begin(), outcomes.end(), [](const Outcome& one) { return one.delivered || one.kept; });
  }
  try {
    told_.note(problem, told, invocation, nowMicros());
  } catch (const Error& error) {
    log::warning("that it was told is not written down, and it may be told again: {}", error.what());
  }
  return outcomes;
}

std::vector<Outcome> Notifier::settle(std::string_view key, const std::string& summary, const Until& until) {
  if (!options_.tellsPeople()) return {};
  const auto known = told_.find(key);
  if (!known) return {};
  std::vector<Outcome> outcomes;
  if (known->told_at > 0 || waits(key))
    outcomes =
        tell(makeEvent(State::Recovered,
                       {known->what.key, known->what.kind, summary, {"It was: " + known->what.summary}}, known->since),
             until);
  told_.forget(key);
  return outcomes;
}

std::vector<Outcome> Notifier::tellKept(const Until& until) {
  std::vector<Outcome> outcomes;
  for (const auto channel : channels()) {
    const auto waiting = kept_.of(channel);
    const auto now = nowMicros();
    if (std::none_of(waiting.begin(), waiting.end(), [&](const KeptEvent& one) { return isDue(one, now); })) continue;
    if (const auto turn = kept_.lock(channel)) tellWaiting(channel, until, outcomes);
  }
  return outcomes;
}

void Notifier::tellWaiting(Channel channel, const Until& until, std::vector<Outcome>& outcomes) {
  std::set<std::string> held;  // keys of which an earlier one is not due
  for (const auto& one : kept_.of(channel)) {
    if (remaining(until.deadline) < kWorthBeginning) return;
    if (held.count(one.event.what.key) > 0 || !isDue(one, nowMicros())) {
      held.insert(one.event.what.key);
      continue;
    }
    outcomes.push_back(tellOne(one, until));
    if (outcomes.back().kept) return;
  }
}

void Notifier::giveUpStrays() const {
  for (const auto& one : kept_.all()) {
    if (!options_.configured(one.channel)) kept_.giveUp(one, "that channel is no longer configured");
  }
}

}  // namespace aragora::notify
