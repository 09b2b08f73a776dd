// For commands that work with what is in the database: one without a schema is an operator's omission, no bug.
#pragma once

#include "cli/context.h"
#include "common/database/database.h"

namespace aragora::cli {

// Throws Error(Conflict) with the line to type where no migration was applied yet.
void requireSchema(Context& context);
std::unique_ptr<database::Database> openWithSchema(Context& context);

}  // namespace aragora::cli
