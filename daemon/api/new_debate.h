// A debate as clients ask for one.
#pragma once

#include "daemon/api/api.h"
#include "daemon/web/request.h"

namespace aragora::api {

// Of the body of POST /api/debates, as that caller may ask for it. Throws Error(Validation) with all that is wrong in
// it, Error(Forbidden) for models that are not for them, and Error(Unprocessable) for one without a price where there
// is a budget.
store::Debate parseDebate(const json::object& body, const web::Request& request, const Services& services);

// Who judges where nobody is named: an agent that can be asked and `suits`, of another model than any seat. What the
// seats say in the house does not leave it for its judge, and demo agents judge nobody but each other. Empty: there is
// none, and a seat judges.
std::string judgeBeside(const std::vector<std::string>& seats, const providers::Providers& providers,
                        const std::function<bool(const providers::Providers::Seat&)>& suits);

}  // namespace aragora::api
