// The only main. Parses, runs the chosen command, and turns every failure into a message and an exit status.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "cli/command_line.h"
#include "cli/context.h"
#include "common/base/interrupt.h"

namespace {
// Secrets live in this process: no core file, no ptrace by the same user.
void protectMemory() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
}

// Whatever failed after a signal failed of it.
aragora::Error asInterrupt(const aragora::Error& error) {
  if (!aragora::interrupt::signal()) return error;
  return aragora::Error(aragora::Code::Interrupted, aragora::interrupt::summary());
}

int run(int argc, char** argv) {
  aragora::cli::GlobalOptions global;
  const auto parsed = aragora::cli::parseCommandLine(argc, argv, global);
  if (!parsed.run) {
    std::fputs(parsed.text.c_str(), stdout);
    return 0;
  }
  aragora::cli::Context context(global);
  try {
    return parsed.run(context);
  } catch (const aragora::Error& failure) {
    const auto error = asInterrupt(failure);
    context.out().endProgress();
    context.out().error(error);
    return aragora::info(error.code()).exit_status;
  }
}
}  // namespace

int main(int argc, char** argv) {
  protectMemory();
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGCHLD, SIG_DFL);  // ignored, as some parents hand it down, no child's exit status could be learnt
  aragora::interrupt::watch();
  int status = 0;
  try {
    status = run(argc, argv);
  } catch (const aragora::Error& error) {
    bool as_json = false;
    for (int i = 1; i < argc; ++i) as_json |= std::string_view(argv[i]) == "--json";
    aragora::cli::Output({.json = as_json}).error(error);
    status = aragora::info(error.code()).exit_status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "aragora: internal error: %s\n  → please report this as a bug\n", error.what());
    status = aragora::info(aragora::Code::Internal).exit_status;
  }
  // Threads of checks that were abandoned at their deadline may still wait for a name server: they are not waited for.
  std::fflush(nullptr);
  std::quick_exit(status);
}
