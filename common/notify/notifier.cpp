#include "common/notify/notifier.h"

#include <set>

#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::notify {

std::vector<Outcome> Notifier::tell(const Event& event, const Until& until) {
  std::vector<Outcome> outcomes;
  for (const auto channel : {Channel::Webhook, Channel::Email}) {
    if (!options_.has(channel)) continue;
    auto outcome = deliver(options_, channel, event, until);
    if (!outcome.delivered) {
      try {
        kept_.keep(channel, event, options_.sender, outcome.answer);
        outcome.kept = true;
      } catch (const Error& error) {
        outcome.lost = error.what();
      }
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

// Nobody can be told of what cannot be written down: it is told anew then, rather than not at all.
std::vector<Outcome> Notifier::report(const Problem& problem, const Until& until, const std::string& invocation) {
  if (!options_.tellsPeople()) return {};
  const auto due = told_.due(problem, options_.remind, nowMicros());
  std::vector<Outcome> outcomes;
  bool safe = !due;
  if (due) {
    const auto known = told_.find(problem.key);
    outcomes = tell(makeEvent(*due, problem, known ? known->since : 0), until);
    safe = std::all_of(outcomes.begin(), outcomes.end(), [](const Outcome& one) { return one.delivered || one.kept; });
  }
  try {
    told_.note(problem, due && safe, invocation, nowMicros());
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
  if (known->told_at > 0)
    outcomes =
        tell(makeEvent(State::Recovered,
                       {known->what.key, known->what.kind, summary, {"It was: " + known->what.summary}}, known->since),
             until);
  told_.forget(key);
  return outcomes;
}

std::vector<Outcome> Notifier::tellKept(const Until& until) {
  std::vector<Outcome> outcomes;
  if (!options_.tellsPeople()) return outcomes;
  auto waiting = kept_.all();
  const auto now = nowMicros();
  std::erase_if(waiting, [&](const KeptEvent& one) { return one.next_at > now || !options_.has(one.channel); });
  if (waiting.empty()) return outcomes;
  const auto lock = kept_.lock();
  if (!lock) return outcomes;
  std::set<Channel> away;
  for (const auto& one : waiting) {
    std::error_code ignored;
    if (away.count(one.channel) > 0 || !fs::exists(one.file, ignored)) continue;
    auto outcome = deliver(options_, one.channel, one.event, until, 1);
    if (outcome.delivered) {
      kept_.remove(one);
    } else {
      away.insert(one.channel);
      outcome.kept = true;
      kept_.postpone(one, options_.sender, outcome.answer);
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

}  // namespace aragora::notify
