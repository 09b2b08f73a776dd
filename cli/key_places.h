// Where this deployment keeps what needs an encryption key.
#pragma once

#include "cli/context.h"
#include "common/drill/key_rotation.h"
#include "common/storage/location.h"

namespace aragora::cli {

inline drill::KeyPlaces keyPlaces(Context& context) {
  return {context.target(), context.config().stateDirectory(), context.backups(std::nullopt, std::nullopt),
          storage::offsite(context.config())};
}

}  // namespace aragora::cli
