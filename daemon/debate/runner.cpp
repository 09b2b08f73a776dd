#include "daemon/debate/runner.h"

#include "common/base/error.h"
#include "common/base/log.h"
#include "daemon/debate/protocol.h"
#include "daemon/debate/provider_calls.h"
#include "daemon/wire/events.h"

namespace aragora::debate {

namespace {
constexpr std::int64_t kAllEvents = 100'000;

Setup setupOf(const store::Debate& debate) {
  return {debate.task, debate.context, seatsOf(debate.agents), debate.rounds, debate.consensus_kind, debate.seed};
}

Deadline deadlineOf(const store::Debate& debate, std::chrono::seconds span) {
  const auto left = std::chrono::microseconds(debate.created_at - nowMicros()) + span;
  return std::chrono::steady_clock::now() + left;
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
    }
  }
  return summary;
}

class Run {
 public:
  Run(const store::Debate& debate, const store::Lease& lease, const RunServices& services, const Control& control)
      : debate_(debate),
        lease_(lease),
        services_(services),
        control_(control),
        deadline_(deadlineOf(debate, services.deadline)),
        protocol_(setupOf(debate)),
        calls_(debate, lease, services, control, deadline_) {}

  void run() {
    load();
    bool more = true;
    while (more) {
      if (control_.handedBack()) throw HandedBack{};
      more = std::visit([this](auto& step) { return carryOut(step); }, step_ = nextStep());
    }
  }

  void fail(const std::string& reason) {
    load();
    if (std::holds_alternative<Done>(protocol_.next())) return;
    auto finish = protocol_.end(store::DebateStatus::Failed, "run_failed", reason);
    carryOut(finish);
  }

 private:
  void load() {
    services_.debates.giveUpIntents(lease_);
    for (const auto& call : services_.debates.calls(debate_.id)) {
      const Place place{call.phase, call.round, call.seat};
      calls_.tried(place, call.attempt);
      const bool done = call.state == store::CallState::Done;
      if (done || call.state == store::CallState::Failed)
        protocol_.recorded(Answer{place, done, done ? call.response : call.error});
    }
    catchUp(kAllEvents);
  }

  // What was recorded by others since: the audience speaks at any instance.
  void catchUp(std::int64_t events) {
    for (const auto& event : services_.debates.events(debate_.id, last_seq_, events)) {
      if (const auto* created = std::get_if<store::DebateCreated>(&event.body)) log::setRequest(created->request_id);
      protocol_.recorded(event);
      last_seq_ = event.seq;
    }
  }

  Step nextStep() const {
    auto next = protocol_.next();
    if (std::holds_alternative<Done>(next)) return next;
    if (control_.cancelled()) return protocol_.end(store::DebateStatus::Cancelled, "cancelled", "cancelled on request");
    if (remaining(deadline_).count() == 0)
      return protocol_.end(store::DebateStatus::Failed, "deadline_exceeded",
                           "the debate took longer than its deadline");
    return next;
  }

  bool carryOut(Ask& ask) {
    for (auto& inquiry : ask.inquiries) {
      protocol_.asked(inquiry.place);
      calls_.start(std::move(inquiry));
    }
    return true;
  }

  bool carryOut(Wait&) {
    for (const auto& answer : calls_.wait()) protocol_.recorded(answer);
    return true;
  }

  bool carryOut(Append& append) {
    write(append.events, summaryOf(append.events));
    return true;
  }

  bool carryOut(Finish& finish) {
    calls_.close();  // first: of a debate that has ended nobody looks at calls any more
    auto& ended = std::get<store::DebateEnded>(finish.events.back().body);
    ended.seconds = static_cast<double>(nowMicros() - debate_.started_at.value_or(debate_.created_at)) / 1e6;
    auto summary = summaryOf(finish.events);
    if (finish.consensus) {
      summary.consensus_reached = finish.consensus->reached;
      summary.confidence = finish.consensus->confidence;
      summary.final_answer = finish.consensus->answer;
      summary.consensus = store::toSummary(*finish.consensus);
    }
    if (finish.match) services_.ratings.recordMatch(debate_.id, finish.match->agents, finish.match->scores);
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

  void write(const std::vector<store::NewEvent>& events, const store::Summary& summary) {
    const auto written = services_.debates.append(lease_, events, summary);
    if (const auto between = written.at(0).seq - last_seq_ - 1; between > 0) catchUp(between);
    for (const auto& event : written) {
      protocol_.recorded(event);
      last_seq_ = event.seq;
      services_.publish(event);
    }
  }

  const store::Debate& debate_;
  const store::Lease& lease_;
  const RunServices& services_;
  const Control& control_;
  Deadline deadline_;
  Protocol protocol_;
  Step step_;
  std::int64_t last_seq_ = 0;
  ProviderCalls calls_;  // last: ends its threads before anything else goes
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
