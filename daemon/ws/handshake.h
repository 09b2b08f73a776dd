// Private to daemon/ws: what every route that becomes a WebSocket asks of its request (RFC 6455 section 4.2.1).
#pragma once

#include "daemon/edge/upgrade.h"
#include "daemon/web/request.h"

namespace aragora::ws {

bool asksForWebSocket(const web::Request& request);
web::Response upgradeRequired(const web::Request& request);
// Asked for, in however many lines: Beast would look at the first of each.
void prepare(edge::Upgraded& upgraded);

}  // namespace aragora::ws
