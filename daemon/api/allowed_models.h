// Which models an account may ask. Any thread.
#pragma once

#include "daemon/api/api.h"
#include "daemon/web/request.h"

namespace aragora::api {

// Whether this account may ask that model.
bool mayAsk(const accounts::Principal& principal, const providers::Providers::Seat& seat, const Services& services);

// Throws Error(Forbidden) that names each agent whose model `models.allowed` does not have. Administrators and the
// deployment itself may ask any, and everybody what costs nothing.
void requireAllowedModels(const store::Debate& draft, const web::Request& request, const Services& services);

}  // namespace aragora::api
