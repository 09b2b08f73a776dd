// The names in a JSON document. Pure function, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace aragora {

// Of a document that can be parsed: the first name that one of its objects has twice. Which value is meant is a guess
// then, and parsers differ in it (RFC 8259 section 4); parseJson() keeps the last.
std::optional<std::string> repeatedName(std::string_view text);

}  // namespace aragora
