// A debate as clients ask for one.
#pragma once

#include "daemon/api/api.h"

namespace aragora::api {

// Of the body of POST /api/debates. Throws Error(Validation) with all that is wrong in it.
store::Debate parseDebate(const json::object& body, const Services& services);

}  // namespace aragora::api
