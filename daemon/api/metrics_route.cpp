#include "common/base/text.h"
#include "daemon/api/api.h"
#include "daemon/web/guard.h"

namespace aragora::api {

// Metrics name hosts, routes and volumes: in production they need the token, or a loopback reader when there is none.
void addMetricsRoute(web::Router& router, const Services& services) {
  router.add({.method = "GET",
              .pattern = "/metrics",
              .handler =
                  [&services](const web::Request& request) {
                    const auto token = services.config.secret(config::key::kMetricsToken);
                    const auto given = request.header("authorization");
                    const bool by_token =
                        !token.empty() && startsWith(given, "Bearer ") && Secret(std::string(given.substr(7))) == token;
                    const bool loopback = web::inBlock(request.client_address, "127.0.0.0/8") ||
                                          web::inBlock(request.client_address, "::1");
                    if (!by_token && !(token.empty() && (loopback || !services.config.production()))) {
                      throw Error(Code::Unauthorized, "metrics need a token",
                                  "send Authorization: Bearer with ARAGORA_METRICS_TOKEN");
                    }
                    web::Response response;
                    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
                    response.body = services.metrics.expose();
                    return response;
                  },
              .open = true,
              .counted = false});
}

}  // namespace aragora::api
