// What goes wrong in OpenAI's Chat Completions and in OpenRouter's, which says it in a vocabulary of its own that holds
// for every vendor behind it. Pure.
#pragma once

#include "common/base/json.h"
#include "daemon/providers/failure.h"

namespace aragora::providers {

// The object "error" of an answer; `status` 0 within an answer of 200, where a number as its code stands for one.
Failure chatError(const json::object& error, int status, std::optional<std::chrono::milliseconds> asked = {});
// Throws what `holder` says of an error.
void throwChatError(const json::object& holder);

}  // namespace aragora::providers
