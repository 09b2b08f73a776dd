// What clients of the chat API see: completions, chunks and errors, in the shapes of OpenAI's API. Pure.
#pragma once

#include "common/base/money.h"
#include "common/store/debates.h"
#include "daemon/chat/desk.h"

namespace aragora::chat {

struct Tokens {
  std::int64_t prompt = 0;
  std::int64_t completion = 0;
};
// Of all calls of a debate.
Tokens tokensOf(const std::vector<store::Call>& calls);
// What a debate took.
struct Spent {
  Tokens tokens;
  Picos cost = 0;
};

json::object completion(const Waiting& waiting, const store::Debate& debate, const Spent& spent);
// Server-sent events.
std::string firstChunk(const Waiting& waiting);
std::string textChunk(const Waiting& waiting, std::string_view text);
std::string lastChunks(const Waiting& waiting, const store::Debate& debate, const Spent& spent);
std::string errorEvent(const json::object& error);
// Of a debate that came to no answer.
bool hasAnswer(const store::Debate& debate);
json::object errorOf(const Waiting& waiting, const store::Debate& debate);
json::object stopping(const Waiting& waiting);

}  // namespace aragora::chat
