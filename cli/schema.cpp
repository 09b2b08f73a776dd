#include "cli/schema.h"

#include "common/migrate/migrator.h"

namespace aragora::cli {

void requireSchema(Context& context) {
  if (migrate::Migrator(context.target()).status().applied.empty())
    throw Error(Code::Conflict, "the database has no schema yet", "run: aragora migrate");
}

std::unique_ptr<database::Database> openWithSchema(Context& context) {
  requireSchema(context);
  return database::openDatabase(context.target());
}

}  // namespace aragora::cli
