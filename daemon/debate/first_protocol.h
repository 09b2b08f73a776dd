// The rules of protocol 1, as the versions before the second had them: blind proposals, rounds of critique and
// revision, one vote, a tally, a synthesis. Nothing is created by them any more, and they stay as they are: debates
// that an upgrade interrupted end by them.
#pragma once

#include "daemon/debate/protocol.h"

namespace aragora::debate {

class FirstProtocol : public Protocol {
 public:
  explicit FirstProtocol(Setup setup) : setup_(std::move(setup)) {}

  void recorded(const store::Event& event) override;
  void recorded(const Answer& answer) override;
  void asked(const Place& place) override { asked_.insert(place); }

  Step next() const override;
  std::optional<Append> hurry(const std::string&) const override { return std::nullopt; }
  Finish end(store::DebateStatus status, std::string outcome, std::string reason) const override;

 private:
  struct Stage;
  using Labels = std::vector<std::pair<std::string, std::string>>;  // label, seat
  std::optional<Step> stage(const Stage& stage) const;
  std::optional<Step> round(std::int64_t round, const std::vector<std::string>& seats) const;
  Append opening() const;
  Stage proposing() const;
  Stage critiquing(std::int64_t round, const std::vector<std::string>& seats) const;
  Stage revising(std::int64_t round, const std::vector<std::string>& seats) const;
  Stage voting(const std::vector<std::string>& seats) const;
  Stage synthesizing(const std::string& leader, const std::vector<store::Consensus::Dissent>& dissent) const;
  Step verdict(const std::vector<std::string>& seats) const;
  Finish closing(const store::Consensus& consensus, std::vector<store::NewEvent> events) const;

  bool resolved(const Place& place) const;
  // What the seat says there, as it is or will be recorded.
  std::optional<store::EventBody> said(const Place& place) const;
  store::EventBody understood(const Place& place, const Answer& answer) const;
  json::object material(std::int64_t round) const;
  std::string proposalOf(const std::string& seat, std::int64_t round) const;
  std::vector<std::string> participants() const;
  Labels labels(const std::vector<std::string>& seats) const;
  std::string agentOf(const std::string& seat) const;

  Setup setup_;
  bool started_ = false;
  bool ended_ = false;
  std::map<std::int64_t, std::size_t> rounds_started_;  // with how much the audience had said by then
  std::vector<std::string> audience_;
  std::set<std::int64_t> rounds_ended_;
  std::optional<store::Consensus> consensus_;
  std::map<Place, store::EventBody> events_;
  std::set<Place> errors_;  // recorded as events
  std::map<Place, Answer> answers_;
  std::set<Place> asked_;
};

}  // namespace aragora::debate
