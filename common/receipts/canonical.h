// JSON in the one form that is signed and hashed: the JSON Canonicalization Scheme (RFC 8785), of the part of JSON that
// every parser reads alike. Numbers are whole and within ±(2^53-1) (I-JSON, RFC 7493 section 2.2); a float is refused,
// and so is a name that an object has twice. Pure functions, any thread.
#pragma once

#include "common/base/json.h"

namespace aragora::receipts {

inline constexpr std::int64_t kLargestInteger = 9'007'199'254'740'991;

// Throws Error(Validation) naming the place (as a JSON pointer) of what has no canonical form.
std::string canonical(const json::value& value);

// Any JSON text that has a canonical form, at most `limit` bytes. Throws Error(Damaged) that names `what`.
json::value parseStrict(std::string_view text, std::string_view what, std::size_t limit = 16U << 20);

// RFC 6901, section 3: one step of a pointer.
std::string pointerStep(std::string_view name);

}  // namespace aragora::receipts
