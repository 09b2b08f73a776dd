// Nothing that is logged, printed as an error or kept in a report shows a secret. Removed are the values that were
// loaded as secrets, wherever they stand, and what has the shape of one; words are not. Thread-safe; linear in the
// text.
#pragma once

#include <string>
#include <string_view>

namespace aragora {

// A value that was loaded as a secret, or a URL with a password. Short ones and plain words are not remembered:
// removing them would eat prose and tell what they are.
void neverShow(std::string_view value);

// With ‹redacted› in the place of: remembered values; sk-…, eyJ…, ara_…, AGE-SECRET-KEY-1…, private keys in PEM; the
// password of a URL (up to the last @ of its authority, RFC 3986 section 3.2.1) and of a libpq connection string; what
// follows password=, secret=, token=, …_key= and Bearer.
std::string redact(std::string_view text);

}  // namespace aragora
