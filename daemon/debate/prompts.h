// What a model is told in each phase, the shape of the answer it is to give, and how that is read. Instructions stand
// in the system message only. Everything that others wrote, the question included, is one JSON value in the user
// message, under a key that they cannot know; participants are known by labels that each of them sees in an order of
// its own. Readers take whatever comes: what is not the JSON that was asked for is text, and a ballot then is none.
// Pure.
#pragma once

#include "common/store/events.h"
#include "daemon/providers/provider.h"

namespace aragora::debate {

// `boundary` is the key under which the material stands; `role` from whose point of view it speaks, or empty.
std::string instructions(store::Phase phase, std::int64_t protocol, const std::string& boundary);
// The user message: {"boundary": B, B: material}.
json::object enclosed(const std::string& boundary, json::object material);

// `labels` are those that may be named: of proposals, and of critiques in a revision.
providers::Shape shapeOf(store::Phase phase, std::int64_t protocol, const std::vector<std::string>& labels,
                         const std::vector<std::string>& critiques = {});

// What was asked for: one JSON object, whole. Readers take other things too.
bool holdsObject(const std::string& text);

struct ReadProposal {
  std::string position;
  std::string answer;
  std::vector<std::string> claims;
  std::optional<std::int64_t> confidence;  // 0..100
};
ReadProposal readProposal(const std::string& text);

struct ReadCritique {
  std::string label;  // as it was given; may be anything
  std::string weakness;
  std::string strength;
  std::int64_t severity = 3;  // 1..5
};
std::vector<ReadCritique> readCritiques(const std::string& text);

struct ReadRevision {
  std::string decision;              // keep, amend, adopt
  std::string adopt;                 // a label, as it was given
  std::vector<std::string> because;  // labels, as they were given
  ReadProposal proposal;
};
ReadRevision readRevision(const std::string& text);

struct ReadBallot {
  std::string label;  // one of the labels; empty: abstained or invalid
  std::int64_t confidence = 0;
  std::optional<bool> more;
  std::string reason;
  std::string invalid;        // why it is no ballot; empty: it is one
  bool out_of_range = false;  // `confidence` is there and no whole number from 0 to 100
};
ReadBallot readBallot(const std::string& text, const std::vector<std::string>& labels);

struct ReadSynthesis {
  std::string answer;
  std::vector<std::string> risks;
  std::vector<std::string> from;  // as they were given
  std::vector<std::string> dissent;
};
ReadSynthesis readSynthesis(const std::string& text);

}  // namespace aragora::debate
