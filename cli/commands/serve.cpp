#include "cli/commands/commands.h"
#include "daemon/server.h"

namespace aragora::cli {

void declareServe(CommandLine line) {
  line.run([](Context& context) { return daemon::serve([&context] { return context.loadedAnew(); }); });
}

}  // namespace aragora::cli
