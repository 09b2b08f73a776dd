// Private to daemon/api: what a browser shows of a setup link, the one page of this API. A form without a script:
// nothing has to be allowed to run for it.
#pragma once

#include "daemon/api/api.h"

namespace aragora::api {

bool wantsPage(const web::Request& request);
// Says nothing of whether the token is good.
web::Response setUpPage(const std::string& token);
// What the form sends. A refusal is the same page again, with the reason and its status.
web::Response setUpByForm(const web::Request& request, const Services& services);

}  // namespace aragora::api
