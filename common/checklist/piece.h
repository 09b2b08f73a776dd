// Private to common/checklist: one piece of what a box rests on.
#pragma once

#include "common/checklist/report.h"

namespace aragora::checklist {

struct Piece {
  State state = State::CouldNotVerify;
  std::string text;
  std::string fix{};
  Micros at = 0;  // 0: now
};

}  // namespace aragora::checklist
