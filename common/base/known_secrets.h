// The values that redact() removes wherever they stand, in the forms that they take: as they are, in a JSON text (and
// one inside another), in base 64 wherever they begin there, in hexadecimal. There may be any number of them: a text is
// looked through once, whatever their number. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace aragora {

enum class Looks {
  OfSecret,  // plain words and short values are not remembered, as neverShow() of redact.h
  Any        // whatever it looks like, from four characters on; up to seven only where they are a word of their own
};
void neverShow(std::string_view value, Looks looks);

// For redact().
void remember(std::string_view value);
std::string withoutKnown(std::string_view text, std::string_view instead);

}  // namespace aragora
