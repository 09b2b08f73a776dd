// Commands that we print are typed by people: what comes from outside stays one word of a shell there. Pure, any
// thread.
#pragma once

#include <string>
#include <string_view>

namespace aragora {

// As it stands when nothing in it means anything to a shell, else in single quotes. Control characters are the
// caller's.
std::string shellWord(std::string_view word);

}  // namespace aragora
