// The JSON of events as clients see it, once for HTTP, WebSockets and exports: unions of the names they use, made from
// typed events. Pure functions.
#pragma once

#include "common/store/events.h"

namespace aragora::wire {

json::object renderEvent(const store::Event& event);
// Its `data`, without what every event has.
json::object renderPayload(const store::Event& event);
// Something that was said to all: by an agent, or by the audience.
bool isMessage(const store::Event& event);
json::object renderMessage(const store::Event& event, std::int64_t index);

}  // namespace aragora::wire
