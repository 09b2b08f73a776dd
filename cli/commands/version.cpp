#include "common/base/version.h"

#include "cli/commands/commands.h"
#include "common/migrate/migration.h"

namespace aragora::cli {

void declareVersion(CommandLine line) {
  line.run([](Context& context) {
    const auto& out = context.out();
    const auto schema = migrate::migrationsFor(database::Engine::Sqlite).back().version;
    out.line(fmt::format("aragora {}", kVersion));
    if (out.verbose())
      out.line(fmt::format("commit {}\ncompiler {}\nbuild {}\nschema {}", kCommit, kCompiler, kBuildType, schema));
    out.document({{"version", kVersion},
                  {"commit", kCommit},
                  {"compiler", kCompiler},
                  {"build_type", kBuildType},
                  {"schema", schema}});
    return 0;
  });
}

// Listed here; the command line answers it, because the words behind it are commands.
void declareHelp(CommandLine line) {
  line.run([](Context&) { return 0; });
}

}  // namespace aragora::cli
