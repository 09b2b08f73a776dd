// The states of a debate and of a provider call and the phases of a debate, each with its one table of names: as they
// are stored and as clients see them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace aragora::store {

enum class DebateStatus { Created, Pending, Running, Paused, Completed, Failed, Cancelled };
// The judge is asked twice, the second time with the proposals in reversed order. …Repair: a ballot or a verdict that
// could not be read is asked for once more.
enum class Phase {
  Propose,
  Critique,
  Revise,
  Vote,
  Synthesize,
  VoteRepair,
  Judge,
  JudgeReversed,
  JudgeRepair,
  JudgeReversedRepair
};
// Intent: before the provider is asked. Unknown: whoever asked went away before the answer was recorded.
enum class CallState { Intent, Done, Failed, Unknown };

std::string_view name(DebateStatus status);
std::string_view name(Phase phase);
std::string_view name(CallState state);
std::optional<DebateStatus> parseDebateStatus(std::string_view name);
std::optional<Phase> parsePhase(std::string_view name);
// Where what was answered in that phase is asked for once more; nothing of what is taken as it comes.
std::optional<Phase> repairOf(Phase phase);
bool isRepair(Phase phase);
std::optional<CallState> parseCallState(std::string_view name);

std::span<const DebateStatus> debateStatuses();
// Whether a debate never leaves it again.
bool isFinal(DebateStatus status);
// "'completed', 'failed'": for IN (…).
std::string finalStatusesInSql();
std::string openStatusesInSql();

}  // namespace aragora::store
