// A part of what an agent says, as it is made. Never stored: what counts is the message that is stored when the agent
// has finished, and whoever missed a part reads it there. Values.
#pragma once

#include "common/store/events.h"

namespace aragora::wire {

struct Delta {
  enum class Kind {
    Text,   // goes on where `offset` says
    Reset,  // what was said of this message before counts no more: it is asked for again
    End     // nothing more comes of it; its message, or why there is none, follows as an event
  };
  std::string debate_id;
  std::string agent;  // the seat
  store::Phase phase = store::Phase::Propose;
  std::int64_t round = 0;
  std::int64_t attempt = 1;
  Kind kind = Kind::Text;
  std::int64_t offset = 0;  // characters (code points) of the message before it
  std::string text{};
  Micros at = 0;  // when the provider's part of it came, the oldest one

  // Whether `next` is what comes right behind it, so that both are one.
  bool continuedBy(const Delta& next) const;
  void append(const Delta& next) { text += next.text; }
};

// agent_delta {agent, phase, round, attempt, offset, text}, agent_message_reset; nullopt for what has no frame.
std::optional<json::object> renderDelta(const Delta& delta);
// The same under the names of the original: token_start, token_delta {token}, token_end; in order.
std::vector<json::object> renderTokens(const Delta& delta);

// Code points of UTF-8.
std::int64_t characters(std::string_view text);

}  // namespace aragora::wire
