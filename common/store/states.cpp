#include "common/store/states.h"

#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::store {

namespace {
constexpr Names<DebateStatus, 7> kStatuses{{{DebateStatus::Created, "created"},
                                            {DebateStatus::Pending, "pending"},
                                            {DebateStatus::Running, "running"},
                                            {DebateStatus::Paused, "paused"},
                                            {DebateStatus::Completed, "completed"},
                                            {DebateStatus::Failed, "failed"},
                                            {DebateStatus::Cancelled, "cancelled"}}};
constexpr Names<Phase, 10> kPhases{{{Phase::Propose, "propose"},
                                    {Phase::Critique, "critique"},
                                    {Phase::Revise, "revise"},
                                    {Phase::Vote, "vote"},
                                    {Phase::Synthesize, "synthesize"},
                                    {Phase::VoteRepair, "vote_repair"},
                                    {Phase::Judge, "judge"},
                                    {Phase::JudgeReversed, "judge_reversed"},
                                    {Phase::JudgeRepair, "judge_repair"},
                                    {Phase::JudgeReversedRepair, "judge_reversed_repair"}}};
constexpr Names<CallState, 4> kCallStates{{{CallState::Intent, "intent"},
                                           {CallState::Done, "done"},
                                           {CallState::Failed, "failed"},
                                           {CallState::Unknown, "unknown"}}};

std::string inSql(bool final) {
  std::vector<std::string> quoted;
  for (const auto& [status, name] : kStatuses) {
    if (isFinal(status) == final) quoted.push_back(fmt::format("'{}'", name));
  }
  return join(quoted, ", ");
}
}  // namespace

std::string_view name(DebateStatus status) { return nameIn(kStatuses, status); }
std::string_view name(Phase phase) { return nameIn(kPhases, phase); }
std::string_view name(CallState state) { return nameIn(kCallStates, state); }
std::optional<DebateStatus> parseDebateStatus(std::string_view name) { return parseIn(kStatuses, name); }
std::optional<Phase> parsePhase(std::string_view name) { return parseIn(kPhases, name); }

std::optional<Phase> repairOf(Phase phase) {
  if (phase == Phase::Vote) return Phase::VoteRepair;
  if (phase == Phase::Judge) return Phase::JudgeRepair;
  if (phase == Phase::JudgeReversed) return Phase::JudgeReversedRepair;
  return std::nullopt;
}

bool isRepair(Phase phase) {
  return phase == Phase::VoteRepair || phase == Phase::JudgeRepair || phase == Phase::JudgeReversedRepair;
}
std::optional<CallState> parseCallState(std::string_view name) { return parseIn(kCallStates, name); }

std::span<const DebateStatus> debateStatuses() {
  static const auto kAll = [] {
    std::array<DebateStatus, kStatuses.size()> all{};
    for (std::size_t i = 0; i < all.size(); ++i) all.at(i) = kStatuses.at(i).first;
    return all;
  }();
  return kAll;
}

bool isFinal(DebateStatus status) {
  return status == DebateStatus::Completed || status == DebateStatus::Failed || status == DebateStatus::Cancelled;
}

std::string finalStatusesInSql() { return inSql(true); }
std::string openStatusesInSql() { return inSql(false); }

}  // namespace aragora::store
