// Nothing that is logged, printed as an error or kept in a report shows a secret. Removed are the values that were
// loaded as secrets, wherever they stand, and what has the shape of one; words are not. Thread-safe; linear in the
// text.
#pragma once

#include <string>
#include <string_view>

namespace aragora {

// A value that was loaded as a secret, or a URL with a password. Short ones and plain words are not remembered:
// removing them would eat prose and tell what they are. (Where that matters less than the secret: known_secrets.h.)
void neverShow(std::string_view value);

// With ‹redacted› in the place of: remembered values; tokens known by how they begin (sk-…, eyJ…, ghp_…, AKIA… with its
// secret); private keys in PEM, also of which the beginning or end is missing; the password of a URL (up to the last @
// of its authority, RFC 3986 section 3.2.1), of a libpq connection string and of .pgpass; what follows password=,
// secret=, token=, …_key=, cookie: and the like on the same line, also in a text inside another; and Bearer and Basic.
std::string redact(std::string_view text);
// Of what people and models say, where a line such as `token = next()` is somebody's text: only tokens known by how
// they begin, private keys, and Bearer and Basic with what looks like a secret. Remembered values stay: who sees which
// of their guesses are removed has found one.
std::string redactCredentials(std::string_view text);

}  // namespace aragora
