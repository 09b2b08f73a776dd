// What has the shape of a secret, for redact(). Pure, any thread; the time taken is in proportion to what is found.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace aragora {

constexpr std::string_view kRedacted = "‹redacted›";

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// Neither a word nor a path nor the name of a variable: with digits, capitals inside, or longer than words are.
bool looksSecret(std::string_view value);
// What is secret of what begins there.
std::optional<Span> secretAt(std::string_view text, std::size_t at);
// The same, only of what can be nothing else: a whole private key, a token known by how it begins, Bearer and Basic.
// What surrounds it stays, so that a JSON text stays one.
std::optional<Span> credentialAt(std::string_view text, std::size_t at);
// The password of the URL whose :// is there.
std::optional<Span> urlPassword(std::string_view text, std::size_t at);

// Keys in PEM, also in base 64 once more, and those whose end is not there.
std::optional<Span> pem(std::string_view text, std::size_t at);
std::optional<Span> encodedPem(std::string_view text, std::size_t at);
// What is left of a key whose beginning or end was cut off: lines of base 64 before an END, and where the text begins
// and ends.
std::vector<Span> cutKeys(std::string_view text);

}  // namespace aragora
