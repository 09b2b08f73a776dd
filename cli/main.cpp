// The only main. Parses, runs the chosen command, and turns every failure into a message and an exit status.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

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

// A closed descriptor would be given to the next file that is opened, and what is printed would land in it.
void occupyStandardDescriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // What is printed to nobody has not been printed.
    (void)!::open(fd == STDOUT_FILENO ? "/dev/full" : "/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
  }
}

// A command whose answer did not arrive has not succeeded. Whoever closed the pipe has read enough and needs no words.
int statusOfOutput(int status) {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  const int why = aragora::cli::outputFailure() != 0 ? aragora::cli::outputFailure() : errno;
  if (flushed && aragora::cli::outputFailure() == 0) return status;
  if (why != EPIPE)
    std::fprintf(stderr, "aragora: cannot write the output%s%s\n", why != 0 ? ": " : "",
                 why != 0 ? std::strerror(why) : "");
  return status != 0 ? status : aragora::info(aragora::Code::Io).exit_status;
}
}  // namespace

int main(int argc, char** argv) {
  occupyStandardDescriptors();
  protectMemory();
  std::signal(SIGPIPE, SIG_IGN);
  for (const int stray : {SIGUSR1, SIGUSR2}) std::signal(stray, SIG_IGN);  // meant for others; they would end us
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
  status = statusOfOutput(status);
  std::fflush(nullptr);
  std::quick_exit(status);
}
