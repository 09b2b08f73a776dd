// POST /v1/chat/completions and GET /v1/models: a debate for whoever speaks OpenAI's API, with the keys and permissions
// of every other route. The services outlive the router.
#pragma once

#include "daemon/chat/desk.h"
#include "daemon/chat/profiles.h"

namespace aragora::chat {

struct RouteServices {
  const api::Services& api;
  Desk& desk;
  Profiles profiles;
};

void addRoutes(web::Router& router, const RouteServices& services);

}  // namespace aragora::chat
