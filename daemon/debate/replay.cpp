#include "daemon/debate/replay.h"

#include <deque>

#include "common/base/error.h"
#include "common/base/text.h"
#include "daemon/debate/protocol.h"
#include "daemon/debate/provider_calls.h"
#include "daemon/debate/served_by.h"

namespace aragora::debate {

namespace {
constexpr std::int64_t kAllEvents = 100'000;
constexpr std::size_t kMostDifferences = 20;

// No rule makes it: somebody said so, or time ran out.
bool madeOutside(const store::EventBody& body) {
  const auto* ended = std::get_if<store::DebateEnded>(&body);
  return std::holds_alternative<store::DebateCreated>(body) || std::holds_alternative<store::AudienceMessage>(body) ||
         std::holds_alternative<store::OtherEvent>(body) || std::holds_alternative<store::MatchRecorded>(body) ||
         std::holds_alternative<store::DebatePaused>(body) || std::holds_alternative<store::DebateResumed>(body) ||
         std::holds_alternative<store::PhaseTimeout>(body) ||
         (ended != nullptr && ended->status != store::DebateStatus::Completed);
}

// How long it took is the clock's, who answered is the providers', and the settings are the operator's.
std::string contentOf(store::EventBody body) {
  if (auto* ended = std::get_if<store::DebateEnded>(&body)) {
    ended->seconds = 0;
    ended->config_hash.clear();
  }
  if (auto* error = std::get_if<store::AgentError>(&body)) error->lasting = false;     // the provider's as well
  if (auto* paused = std::get_if<store::DebatePaused>(&body)) paused->detail.clear();  // earlier versions said less
  if (auto* report = std::get_if<store::Report>(&body)) withoutServedBy(report->content);
  return toJson(store::toPayload(body));
}

std::string describe(const Place& place) {
  return fmt::format("{} of {} in round {}", store::name(place.phase), place.seat, place.round);
}

class Rerun {
 public:
  Rerun(store::Debates& debates, const store::Debate& debate)
      : protocol_(makeProtocol(debate.protocol, setupOf(debate, debates.documents(debate.id)))),
        events_(debates.events(debate.id, 0, kAllEvents)) {
    for (auto& call : debates.calls(debate.id)) calls_[{call.phase, call.round, call.seat}].push_back(std::move(call));
    for (auto& [place, calls] : calls_)
      std::sort(calls.begin(), calls.end(), [](const auto& a, const auto& b) { return a.attempt < b.attempt; });
    std::string no_answer;
    for (const auto& event : events_) {
      if (const auto* over = std::get_if<store::PhaseTimeout>(&event.body)) no_answer = noAnswerSince(over->reason);
    }
    for (const auto& event : events_) {
      const auto* error = std::get_if<store::AgentError>(&event.body);
      if (error == nullptr) continue;
      const Place place{error->phase, event.round, event.agent};
      if (error->message == no_answer && beforeTheVote(error->phase))
        cut_off_.insert(place);
      else
        refused_[place] = *error;
    }
  }

  Replay run() {
    while (result_.differences.size() < kMostDifferences) {
      auto step = protocol_->next();
      if (!std::visit([this](auto& one) { return take(one); }, step)) break;
    }
    if (at_ < events_.size() && result_.differences.empty())
      differs(fmt::format("event {} ({}) is none that the rules make", events_[at_].seq, events_[at_].type()));
    return std::move(result_);
  }

 private:
  void differs(std::string what) { result_.differences.push_back(std::move(what)); }

  bool take(Ask& ask) {
    for (const auto& inquiry : ask.inquiries) {
      protocol_->asked(inquiry.place);
      const auto found = calls_.find(inquiry.place);
      if (found == calls_.end()) {  // nobody was asked: no money was left for it, or something ended the debate
        waiting_.push_back(inquiry.place);
        continue;
      }
      const auto hash = requestHash(inquiry);
      const auto& calls = found->second;
      const bool same =
          std::all_of(calls.begin(), calls.end(), [&](const auto& one) { return one.request_hash == hash; });
      if (same)
        ++result_.questions;
      else
        differs(fmt::format("the question is another one than was asked: {}", describe(inquiry.place)));
      waiting_.push_back(inquiry.place);
    }
    return true;
  }

  // Each answer once, in the order of the tries; one without an answer was never heard.
  bool take(Wait&) {
    bool heard = false;
    for (const auto& place : std::exchange(waiting_, {})) {
      auto& calls = calls_[place];
      while (!calls.empty() && !listenedTo(place, calls.front())) calls.pop_front();
      if (calls.empty()) {
        const auto refused = refused_.find(place);
        if (refused == refused_.end()) {
          // Nobody asked once more: there was no money left for it, or the version that ran the debate never did.
          // What the rules make of that is compared, as everything.
          if (!store::isRepair(place.phase)) continue;
          protocol_->recorded(Answer{place, false, {}});
          heard = true;
          continue;
        }
        protocol_->recorded(Answer{place, false, refused->second.message, refused->second.lasting});
        heard = true;
        continue;
      }
      const bool done = calls.front().state == store::CallState::Done;
      Answer answer{place, done, done ? calls.front().response : calls.front().error};
      if (const auto known = refused_.find(place); !done && known != refused_.end())
        answer.lasting = known->second.lasting;
      protocol_->recorded(answer);
      calls.pop_front();
      heard = true;
    }
    return heard || hurry() || takeFromOutside();
  }
  // The clock said that it is time to vote: with what was there then.
  bool hurry() {
    for (auto at = at_; at < events_.size(); ++at) {
      const auto* timeout = std::get_if<store::PhaseTimeout>(&events_[at].body);
      if (timeout == nullptr) continue;
      const auto append = protocol_->hurry(timeout->reason);
      return append && compare(append->events);
    }
    return false;
  }
  bool listenedTo(const Place& place, const store::Call& call) const {
    return call.state == store::CallState::Done ||
           (call.state == store::CallState::Failed && cut_off_.count(place) == 0);
  }

  bool take(Append& append) { return compare(append.events); }
  bool take(Adjourn& adjourn) { return compare(adjourn.events); }
  bool take(Finish& finish) { return compare(finish.events); }
  bool take(Done&) {
    result_.whole = true;
    return false;
  }

  // Of what ended a debate before its time, its report too: on whatever was known by then.
  bool fromOutside() const {
    if (at_ == events_.size()) return false;
    const bool report = std::holds_alternative<store::Report>(events_[at_].body) && at_ + 1 < events_.size() &&
                        std::holds_alternative<store::DebateEnded>(events_[at_ + 1].body);
    return madeOutside(events_[report ? at_ + 1 : at_].body);
  }

  bool compare(const std::vector<store::NewEvent>& made) {
    for (const auto& one : made) {
      while (fromOutside() && !same(one, events_[at_])) {
        takeFromOutside();
        if (ended_) return true;
      }
      if (at_ == events_.size()) return false;  // it had not come further
      const auto& event = events_[at_];
      if (!same(one, event)) {
        differs(fmt::format("event {} is {} of {}, and the rules make {} of {}{}", event.seq, event.type(),
                            event.agent.empty() ? "nobody" : event.agent, store::typeOf(one.body),
                            one.agent.empty() ? "nobody" : one.agent,
                            event.type() == store::typeOf(one.body) ? " with another content" : ""));
        return false;
      }
      ++result_.events;
      hear();
    }
    return true;
  }
  static bool same(const store::NewEvent& made, const store::Event& event) {
    return store::typeOf(made.body) == event.type() && made.round == event.round && made.agent == event.agent &&
           contentOf(asRecorded(made.body, event.body)) == contentOf(event.body);
  }
  // Earlier versions kept neither of them.
  static store::EventBody asRecorded(store::EventBody made, const store::EventBody& recorded) {
    auto* one = std::get_if<store::Synthesis>(&made);
    const auto* other = std::get_if<store::Synthesis>(&recorded);
    if (one != nullptr && other != nullptr && other->from.empty() && other->dissent.empty()) {
      one->from.clear();
      one->dissent.clear();
    }
    return made;
  }

  bool takeFromOutside() {
    if (!fromOutside()) return false;
    ++result_.outside;
    hear();
    return true;
  }

  void hear() {
    ended_ |= std::holds_alternative<store::DebateEnded>(events_[at_].body);
    protocol_->recorded(events_[at_++]);
  }

  std::unique_ptr<Protocol> protocol_;
  std::vector<store::Event> events_;
  std::size_t at_ = 0;  // the next one
  std::map<Place, std::deque<store::Call>> calls_;
  std::map<Place, store::AgentError> refused_;  // why a seat has no answer, as its last event says
  std::set<Place> cut_off_;  // what was broken off there when it was time to vote: nobody waited for how it ended
  std::vector<Place> waiting_;
  bool ended_ = false;
  Replay result_;
};
}  // namespace

Replay replay(store::Debates& debates, const std::string& debate_id) {
  const auto debate = debates.find(debate_id);
  if (!debate)
    throw Error(Code::NotFound, fmt::format("there is no debate {}", printable(debate_id, 60)),
                "see: aragora debate list");
  return Rerun(debates, *debate).run();
}

}  // namespace aragora::debate
