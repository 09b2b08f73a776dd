#include "common/base/embedded_file.h"
#include "daemon/api/api.h"

namespace aragora::api {

const std::vector<EmbeddedFile>& embeddedOpenApi();  // generated from daemon/api/openapi.json

void addOpenApiRoutes(web::Router& router) {
  static const auto body = std::make_shared<const std::string>(embeddedOpenApi().at(0).text);
  for (const auto* path : {"/api/openapi.json", "/openapi.json", "/api/docs/openapi.json"}) {
    router.add({.method = "GET",
                .pattern = path,
                .handler =
                    [](const web::Request&) {
                      web::Response response;
                      response.shared_body = body;
                      return response;
                    },
                .inline_handler = true,
                .open = true});
  }
}

}  // namespace aragora::api
