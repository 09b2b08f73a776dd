#include "daemon/api/api.h"

namespace aragora::api {

// Metrics name hosts, routes and volumes: they have a permission of their own.
void addMetricsRoute(web::Router& router, const Services& services) {
  router.add({.method = "GET",
              .pattern = "/metrics",
              .permission = accounts::Permission::ReadMetrics,
              .handler =
                  [&services](const web::Request&) {
                    web::Response response;
                    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
                    response.body = services.metrics.expose();
                    return response;
                  },
              .counted = false});
}

}  // namespace aragora::api
