// Of protocol 1: what a model is told in each phase and how its answer is read. Peers' text is data in JSON,
// instructions stand in the system message only; participants are known by labels. Pure functions.
#pragma once

#include "common/store/events.h"

namespace aragora::debate::first {

// The system message of a phase.
std::string instructions(store::Phase phase);

struct ReadCritique {
  std::string weakness;
  std::int64_t severity = 3;  // 1..5
};
// What is not the JSON that was asked for counts as the weakness, whole.
ReadCritique readCritique(const std::string& answer);

struct ReadBallot {
  std::string label;            // as it was chosen; may be anything
  std::int64_t confidence = 0;  // 0..100
  std::string reason;
};
ReadBallot readBallot(const std::string& answer);

}  // namespace aragora::debate::first
