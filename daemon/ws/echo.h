// A WebSocket that says what it hears: how the conformance of what is below /ws is tested from outside. Only in builds
// for tests (ARAGORA_TEST_ENDPOINTS), never in a release.
#pragma once

#include "daemon/web/router.h"

namespace aragora::ws {

void addEchoRoute(web::Router& router);  // GET /ws/echo, without credentials

}  // namespace aragora::ws
