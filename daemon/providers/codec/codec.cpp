#include "daemon/providers/codec/codec.h"

#include "common/base/text.h"

namespace aragora::providers {

json::object objectOf(std::string_view text) {
  auto value = tryParseJson(text);
  if (!value || !value->is_object()) throw CallError("the answer is not JSON", CallError::Next::Again);
  return std::move(value->get_object());
}

Answer requireText(Answer answer) {
  if (!trim(answer.text).empty()) return answer;
  throw CallError(
      answer.truncated ? "the answer ran into the most tokens before it said anything" : "the answer has no content",
      CallError::Next::GiveUp);
}

}  // namespace aragora::providers
