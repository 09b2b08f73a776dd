// What a client of the chat API asks, as a debate: the last message of the user is its task, what was said before it is
// context, as data. What would change the answer and cannot be done is refused; how models draw their words is the
// deployment's business and is not looked at. Pure.
#pragma once

#include "daemon/chat/profiles.h"

namespace aragora::chat {

struct Question {
  std::string model;     // as it was asked for
  json::object request;  // as POST /api/debates takes it
  bool stream = false;
  bool include_usage = false;
};

// Error(Validation | NotFound), with the parameter in its details.
Question readQuestion(const json::object& body, const Profiles& profiles);

}  // namespace aragora::chat
