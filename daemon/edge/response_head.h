// Private to daemon/edge: status line and header fields of an answer, the security headers of every one among them.
#pragma once

#include "daemon/edge/message.h"

namespace aragora::edge {

// Where the body ends.
enum class Framing { Length, Chunked, UntilClose };
// Replaces what is in `head`.
void writeResponseHead(std::string& head, const Response& response, bool keep_alive, Framing framing = Framing::Length);

}  // namespace aragora::edge
