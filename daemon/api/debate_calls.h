// What the routes of debates have in common.
#pragma once

#include "daemon/api/api.h"

namespace aragora::api {

constexpr std::int64_t kAllEvents = 10'000;  // no debate has more: rounds and agents are bounded

debate::Caller callerOf(const web::Request& request, const Services& services);
// The one that {id} names, by id or slug. Error(NotFound).
store::Debate require(const web::Request& request, const Services& services);
// nullopt without one. Error(Validation).
std::optional<debate::Service::IdempotencyKey> idempotencyKeyOf(const web::Request& request);
// What a creation answers.
json::object createdBody(const store::Debate& debate, const web::Request& request);

}  // namespace aragora::api
