// What is secret of a secret setting, told to redact(): itself, its password when it is a URL or a connection string,
// the path of an http address (often all that it takes to write there), each as it stands in an address, too.
// Thread-safe.
#pragma once

#include <string_view>

#include "common/base/known_secrets.h"

namespace aragora::config {

void hideSecret(std::string_view value, Looks looks);

}  // namespace aragora::config
