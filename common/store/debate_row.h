// One debate as a row: the columns to select from `debates d`, and the way back.
#pragma once

#include "common/store/debates.h"

namespace aragora::store {

constexpr std::string_view kDebateColumns =
    "d.id, d.slug, d.task, d.context, d.status, d.agents, d.rounds, d.consensus_kind, d.metadata, d.seed, "
    "d.created_at, d.started_at, d.completed_at, "
    "d.cancel_requested, d.rounds_used, d.consensus_reached, d.confidence, d.final_answer, d.consensus, d.outcome, "
    "d.error, d.last_seq, d.owner_id, d.budget_picos, d.key_id, d.protocol, d.options, "
    "d.pause_requested";

Debate toDebate(const database::Row& row);
// What the event of its creation says of the columns `options` and `documents`: documents by what they hash to.
json::object recordedOptions(const std::string& text, const std::vector<std::string>& texts);

}  // namespace aragora::store
