// Whether a database holds what somebody would miss: debates or accounts. What migrations, settings and the audit log
// of a new deployment hold is made again by whoever sets it up.
#pragma once

#include "common/database/connection.h"

namespace aragora::migrate {

// Also of a database that is not there or was never migrated: false.
bool holdsData(const database::Target& target);

}  // namespace aragora::migrate
