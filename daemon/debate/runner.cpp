#include "daemon/debate/runner.h"

#include <deque>

#include "common/base/error.h"
#include "common/base/log.h"
#include "daemon/debate/match.h"
#include "daemon/debate/options.h"
#include "daemon/debate/protocol.h"
#include "daemon/debate/provider_calls.h"
#include "daemon/debate/served_by.h"
#include "daemon/debate/spending.h"
#include "daemon/wire/events.h"

namespace aragora::debate {

namespace {
constexpr std::int64_t kAllEvents = 100'000;

constexpr std::string_view kOnRequest = "operator";
// While too few answer, it is tried again after 1, 2, 4 … seconds.
constexpr auto kFirstWait = std::chrono::milliseconds(1000);
constexpr auto kLongestWait = std::chrono::milliseconds(30'000);

Options optionsOf(const store::Debate& debate) {
  const auto value = tryParseJson(debate.options).value_or(nullptr);
  return value.is_object() ? optionsFrom(value.get_object()) : Options{};
}

}  // namespace

Setup setupOf(const store::Debate& debate, std::vector<std::string> documents) {
  const auto options = optionsOf(debate);
  Setup setup{debate.task, debate.context, seatsOf(debate.agents), debate.rounds, debate.consensus_kind, debate.seed};
  setup.documents = std::move(documents);
  setup.quorum = options.quorum;
  setup.share = options.share;
  setup.allow_absent = options.allow_absent;
  setup.judge = options.judge;
  setup.exclude_orders = options.exclude_orders;
  setup.stop_when_steady = options.stop_when_steady;
  for (std::size_t i = 0; i < std::min(setup.seats.size(), options.seats.size()); ++i) {
    setup.seats[i].role = options.seats[i].role;
    setup.seats[i].weight = options.seats[i].weight;
  }
  return setup;
}

namespace {
Deadline momentAfter(Micros since, std::chrono::microseconds span) {
  return std::chrono::steady_clock::now() + std::chrono::microseconds(since - nowMicros()) + span;
}

// What the row of the debate says after these events.
store::Summary summaryOf(const std::vector<store::NewEvent>& events) {
  store::Summary summary;
  for (const auto& event : events) {
    if (std::holds_alternative<store::DebateStarted>(event.body)) {
      summary.status = store::DebateStatus::Running;
      summary.started = true;
    } else if (std::holds_alternative<store::RoundEnded>(event.body)) {
      summary.rounds_used = event.round;
    } else if (const auto* ended = std::get_if<store::DebateEnded>(&event.body)) {
      summary.status = ended->status;
      summary.outcome = ended->outcome;
      summary.completed = true;
      if (!ended->reason.empty()) summary.error = ended->reason;
    } else if (std::holds_alternative<store::DebatePaused>(event.body)) {
      summary.status = store::DebateStatus::Paused;
    } else if (std::holds_alternative<store::DebateResumed>(event.body)) {
      summary.status = store::DebateStatus::Running;
    }
  }
  return summary;
}

class Run {
 public:
  Run(const store::Debate& debate, const store::Lease& lease, const RunServices& services, const Control& control)
      : debate_(debate), lease_(lease), services_(services), control_(control) {}

  void run() {
    load();
    bool more = true;
    while (more) {
      if (control_.handedBack()) throw HandedBack{};
      if (timeToVote()) hurry(std::string(kTimeIsOver));
      more = std::visit([this](auto& step) { return carryOut(step); }, step_ = nextStep());
    }
  }

  void fail(const std::string& reason) {
    load();
    if (std::holds_alternative<Done>(protocol_->next())) return;
    auto finish = protocol_->end(store::DebateStatus::Failed, "run_failed", reason);
    carryOut(finish);
  }

 private:
  void load() {
    const auto crossed = services_.debates.giveUpIntents(lease_);
    if (services_.spending != nullptr) services_.spending->tell(crossed);
    protocol_ = makeProtocol(debate_.protocol, setupOf(debate_, services_.debates.documents(debate_.id)));
    last_seq_ = 0;
    rest_ = {};
    const auto calls = services_.debates.calls(debate_.id);
    tellAnswers(calls);
    catchUp(kAllEvents);
    setDeadlines();
    calls_.emplace(debate_, lease_, services_, control_, deadline_, debating_until_);
    if (hurried_) calls_->hurry();
    for (const auto& call : calls) calls_->tried(Place{call.phase, call.round, call.seat}, call.attempt);
  }

  // Of each seat the first one. What it answered when it was asked again follows the rest that led to it: told before,
  // the machine would forget it there, and ask once more.
  void tellAnswers(std::vector<store::Call> calls) {
    std::stable_sort(calls.begin(), calls.end(), [](const auto& a, const auto& b) { return a.attempt < b.attempt; });
    asked_again_.clear();
    unheard_.clear();
    answered_.clear();
    for (const auto& call : calls) {
      const bool done = call.state == store::CallState::Done;
      if (!done && call.state != store::CallState::Failed) continue;
      const Answer answer{Place{call.phase, call.round, call.seat}, done, done ? call.response : call.error};
      if (answered_.insert(answer.place).second)
        protocol_->recorded(answer);
      else
        asked_again_[answer.place].push_back(answer);
    }
  }

  void tellNextAnswers() {
    for (const auto& place : std::exchange(unheard_, {})) {
      const auto found = asked_again_.find(place);
      if (found == asked_again_.end() || found->second.empty()) continue;
      protocol_->recorded(found->second.front());
      found->second.pop_front();
    }
  }

  // From its creation, without the time for which somebody let it rest. The last part of it is kept for the vote and
  // the synthesis.
  void setDeadlines() {
    auto rested = rest_.on_request;
    if (rest_.since != 0 && rest_.reason == kOnRequest) rested += nowMicros() - rest_.since;
    const auto asked = std::chrono::seconds(optionsOf(debate_).deadline_seconds);
    const std::chrono::microseconds span = asked.count() > 0 ? asked : services_.deadline;
    deadline_ = momentAfter(debate_.created_at + rested, span);
    debating_until_ = debate_.protocol == 1 ? deadline_ : momentAfter(debate_.created_at + rested, span * 85 / 100);
  }

  bool timeToVote() const { return !hurried_ && debate_.protocol > 1 && remaining(debating_until_).count() == 0; }

  // What is being asked before a vote is broken off, and what was answered by now counts.
  void hurry(const std::string& reason) {
    hurried_ = true;
    calls_->hurry();
    for (const auto& answer : calls_->take()) hear(answer);
    auto step = protocol_->next();
    for (; std::holds_alternative<Append>(step); step = protocol_->next()) {
      auto& append = std::get<Append>(step);
      write(append.events, summaryOf(append.events));
    }
    if (auto append = protocol_->hurry(reason)) write(append->events, {});
  }

  void hear(const Answer& answer) {
    if (answer.over_budget)
      over_budget_ = answer.text;
    else
      answered_.insert(answer.place);
    protocol_->recorded(answer);
  }

  // What was recorded by others since: the audience speaks at any instance.
  void catchUp(std::int64_t events) {
    for (const auto& event : services_.debates.events(debate_.id, last_seq_, events)) {
      if (const auto* created = std::get_if<store::DebateCreated>(&event.body)) log::setRequest(created->request_id);
      heard(event);
    }
  }

  void heard(const store::Event& event) {
    protocol_->recorded(event);
    last_seq_ = event.seq;
    if (const auto* paused = std::get_if<store::DebatePaused>(&event.body)) {
      rest_.since = event.at;
      rest_.reason = paused->reason;
      if (paused->reason != kOnRequest) ++rest_.waits;
    } else if (std::holds_alternative<store::DebateResumed>(event.body)) {
      if (rest_.reason == kOnRequest)
        rest_.on_request += event.at - rest_.since;
      else
        tellNextAnswers();
      rest_.since = 0;
    } else if (const auto* error = std::get_if<store::AgentError>(&event.body)) {
      const Place place{error->phase, event.round, event.agent};
      unheard_.insert(place);
      // Nobody was asked: there was no money for it, as whoever goes on has to know.
      if (error->lasting && answered_.count(place) == 0) over_budget_ = error->message;
    } else if (const auto* over = std::get_if<store::PhaseTimeout>(&event.body)) {
      hurried_ = true;
      if (over->reason != kTimeIsOver) over_budget_ = over->reason;
    }
  }

  Step nextStep() {
    auto next = protocol_->next();
    if (std::holds_alternative<Done>(next)) return next;
    if (control_.cancelled())
      return protocol_->end(store::DebateStatus::Cancelled, "cancelled", "cancelled on request");
    if (remaining(deadline_).count() == 0)
      return protocol_->end(store::DebateStatus::Failed, "deadline_exceeded",
                            "the debate took longer than its deadline");
    const auto round = debate_.rounds_used;
    if (control_.paused())
      return Adjourn{{{round, "", store::DebatePaused{std::string(kOnRequest), store::Phase::Propose, {}}}}};
    if (rest_.since != 0 && rest_.reason == kOnRequest) return Append{{{round, "", store::DebateResumed{}}}};
    return over_budget_.empty() ? next : withinBudget(std::move(next));
  }

  // What was paid for is waited for and recorded. Then there is a vote on it, with what money is left, and it ends by
  // that, unless it came to a consensus.
  Step withinBudget(Step next) {
    if (std::holds_alternative<Append>(next) || std::holds_alternative<Wait>(next)) return next;
    auto* finish = std::get_if<Finish>(&next);
    if (finish != nullptr && std::get<store::DebateEnded>(finish->events.back().body).consensus_reached) return next;
    if (!hurried_ && debate_.protocol > 1) {
      hurry(over_budget_);
      return nextStep();
    }
    if (hurried_ && std::holds_alternative<Ask>(next)) return next;
    if (finish == nullptr) return protocol_->end(store::DebateStatus::Failed, "budget_exhausted", over_budget_);
    auto& ended = std::get<store::DebateEnded>(finish->events.back().body);
    ended.status = store::DebateStatus::Failed;
    ended.outcome = "budget_exhausted";
    ended.reason = over_budget_;
    return next;
  }

  bool carryOut(Ask& ask) {
    for (auto& inquiry : ask.inquiries) {
      protocol_->asked(inquiry.place);
      calls_->start(std::move(inquiry));
    }
    return true;
  }

  bool carryOut(Wait&) {
    for (const auto& answer : calls_->wait()) hear(answer);
    return true;
  }

  bool carryOut(Append& append) {
    write(append.events, summaryOf(append.events));
    return true;
  }

  bool carryOut(Adjourn& adjourn) {
    calls_.reset();
    write(adjourn.events, summaryOf(adjourn.events));
    log::info("debate {} rests: {}", debate_.id, rest_.reason);
    if (rest_.reason == kOnRequest) throw Rests{};
    auto wait = kFirstWait;
    for (std::int64_t i = 1; i < rest_.waits && wait < kLongestWait; ++i) wait *= 2;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(remaining(debating_until_));
    throw Rests{std::min({wait, kLongestWait, left + std::chrono::milliseconds(1)})};
  }

  bool carryOut(Finish& finish) {
    calls_->close();  // first: of a debate that has ended nobody looks at calls any more
    auto& last = std::get<store::DebateEnded>(finish.events.back().body);
    last.seconds = static_cast<double>(nowMicros() - debate_.started_at.value_or(debate_.created_at)) / 1e6;
    last.config_hash = services_.config_hash();
    const auto ended = last;
    auto summary = summaryOf(finish.events);
    if (finish.consensus) {
      summary.consensus_reached = finish.consensus->reached;
      summary.confidence = finish.consensus->confidence;
      summary.final_answer = finish.consensus->answer;
      summary.consensus = store::toSummary(*finish.consensus);
    }
    addWhoAnswered(finish.events);
    if (finish.consensus) addMatch(finish.events);
    write(finish.events, summary);
    services_.metrics.count("aragora_debates_total", {{"status", std::string(store::name(ended.status))},
                                                      {"outcome", ended.outcome},
                                                      {"consensus_type", debate_.consensus_kind}});
    services_.metrics.observe("aragora_debate_duration_seconds", ended.seconds, {{"outcome", ended.outcome}});
    services_.metrics.observe("aragora_debate_rounds", static_cast<double>(ended.rounds));
    if (ended.status == store::DebateStatus::Completed)
      services_.metrics.count("aragora_debates_completed_total", {{"outcome", ended.outcome}});
    if (ended.status == store::DebateStatus::Failed) services_.metrics.count("aragora_debate_failures_total");
    log::tell(log::Event::DebateEnded, log::Level::Info, "debate {} ended: {}, {}, after {:.1f} s", debate_.id,
              store::name(ended.status), ended.outcome, ended.seconds);
    if (ended.consensus_reached) services_.metrics.count("aragora_consensus_reached_total");
    return false;
  }

  bool carryOut(Done&) { return false; }

  // To the report: who really answered, and how different they are.
  void addWhoAnswered(std::vector<store::NewEvent>& events) {
    for (auto& event : events) {
      auto* report = std::get_if<store::Report>(&event.body);
      if (report == nullptr) continue;
      addServedBy(report->content, debate_, services_);
      const auto* conformity = jsonObject(report->content, "conformity");
      if (conformity == nullptr) continue;
      const auto uncited = jsonIntegerOr(*conformity, "uncited", 0);
      const auto cited = jsonIntegerOr(*conformity, "flips", 0) - uncited;
      services_.metrics.count("aragora_debate_flips_total", {{"cited", "true"}}, static_cast<double>(cited));
      services_.metrics.count("aragora_debate_flips_total", {{"cited", "false"}}, static_cast<double>(uncited));
    }
  }

  // Before the end, in its transaction.
  void addMatch(std::vector<store::NewEvent>& events) {
    auto match =
        matchOf(debate_, services_.debates.events(debate_.id, 0, kAllEvents), services_.debates.calls(debate_.id));
    if (match) events.insert(events.end() - 1, {events.back().round, "", store::MatchRecorded{std::move(*match)}});
  }

  void write(const std::vector<store::NewEvent>& events, const store::Summary& summary) {
    const auto written = services_.debates.append(lease_, events, summary);
    if (const auto between = written.at(0).seq - last_seq_ - 1; between > 0) catchUp(between);
    for (const auto& event : written) {
      heard(event);
      services_.publish(event);
    }
  }

  const store::Debate& debate_;
  const store::Lease& lease_;
  const RunServices& services_;
  const Control& control_;
  Deadline deadline_;
  Deadline debating_until_;
  bool hurried_ = false;
  struct {
    Micros since = 0;  // 0: it does not rest
    std::string reason;
    Micros on_request = 0;  // how long it rested so
    std::int64_t waits = 0;
  } rest_;
  std::unique_ptr<Protocol> protocol_;
  Step step_;
  std::int64_t last_seq_ = 0;
  std::set<Place> answered_;
  std::set<Place> unheard_;  // since the last rest
  std::map<Place, std::deque<Answer>> asked_again_;
  std::string over_budget_;             // why a call was not made
  std::optional<ProviderCalls> calls_;  // last: ends its threads before anything else goes
};
}  // namespace

void runDebate(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
               const Control& control) {
  Run(debate, lease, services, control).run();
}

void failDebate(const store::Debate& debate, const store::Lease& lease, const RunServices& services,
                const std::string& reason) {
  const Control nobody;
  Run(debate, lease, services, nobody).fail(reason);
}

}  // namespace aragora::debate
