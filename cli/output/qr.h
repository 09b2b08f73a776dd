// A text as a QR code of half blocks, for a terminal, by libqrencode. Empty when it is too long for one.
#pragma once

#include <string>

#include "common/base/secret.h"

namespace aragora::cli {

std::string qrCode(const Secret& text);

}  // namespace aragora::cli
