// One debate as a row: the columns to select from `debates d`, and the way back.
#pragma once

#include "common/store/debates.h"

namespace aragora::store {

constexpr std::string_view kDebateColumns =
    "d.id, d.slug, d.task, d.context, d.status, d.agents, d.rounds, d.consensus_kind, d.metadata, d.seed, "
    "d.created_at, d.started_at, d.completed_at, "
    "d.cancel_requested, d.rounds_used, d.consensus_reached, d.confidence, d.final_answer, d.consensus, d.outcome, "
    "d.error, d.last_seq, d.owner_id";

Debate toDebate(const database::Row& row);

}  // namespace aragora::store
