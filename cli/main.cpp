// The only main. Parses, runs the chosen command, and turns every failure into a message and an exit status.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "cli/command_line.h"
#include "cli/context.h"
#include "common/base/interrupt.h"
#include "common/base/owner.h"

namespace {
// Secrets live in this process: no core file, no ptrace by the same user.
void protectMemory() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
}

// A descriptor that is closed would become that of the next file opened, and what is printed would go into it. Writing
// to a standard output that was closed fails, as it should.
void fillStandardDescriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0) (void)!::open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
}

// A command that failed says more than that nobody could read it. A reader that left (EPIPE) has what it wanted: only
// the status says it.
int withOutputLookedAt(int status) {
  const int why = aragora::cli::closeOut();
  if (why == 0) return status;
  if (why != EPIPE)
    aragora::cli::Output({}).error(aragora::Error(aragora::Code::Io,
                                                  "cannot write the output: " + aragora::systemError(why),
                                                  "what the command did is done, and was not all shown"));
  return status != 0 ? status : aragora::info(aragora::Code::Io).exit_status;
}

// Whatever failed after a signal failed of it.
aragora::Error asInterrupt(const aragora::Error& error) {
  if (!aragora::interrupt::signal()) return error;
  return aragora::Error(aragora::Code::Interrupted, aragora::interrupt::summary());
}

// What the standard library says of a file is said as everywhere else.
aragora::Error asError(const std::filesystem::filesystem_error& failure) {
  try {
    aragora::throwFileError(aragora::Code::Io, "look at", failure.path1(), failure.code().value());
  } catch (const aragora::Error& error) {
    return error;
  }
}

// Meant for others; each of them would end us. SIGXFSZ: a file that is too large is an error of write(2).
void ignoreStraySignals() {
  for (const int stray : {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT, SIGXFSZ})
    std::signal(stray, SIG_IGN);
  for (int stray = SIGRTMIN; stray <= SIGRTMAX; ++stray) std::signal(stray, SIG_IGN);
}

int run(int argc, char** argv) {
  aragora::cli::GlobalOptions global;
  const auto parsed = aragora::cli::parseCommandLine(argc, argv, global);
  if (!parsed.run) {
    const aragora::cli::Output out({.json = aragora::cli::wantsJson(argc, argv)});
    out.document(parsed.document);
    out.json() ? out.finish() : aragora::cli::printOut(parsed.text);
    return 0;
  }
  aragora::cli::Context context(global);
  const auto failed = [&](const aragora::Error& failure) {
    const auto error = asInterrupt(failure);
    context.out().error(error);
    return aragora::info(error.code()).exit_status;
  };
  try {
    const int status = parsed.run(context);
    context.out().finish();
    return status;
  } catch (const aragora::Error& failure) {
    return failed(failure);
  } catch (const std::filesystem::filesystem_error& failure) {
    return failed(asError(failure));
  }
}
}  // namespace

int main(int argc, char** argv) {
  fillStandardDescriptors();
  protectMemory();
  std::signal(SIGPIPE, SIG_IGN);
  ignoreStraySignals();
  std::signal(SIGCHLD, SIG_DFL);  // ignored, as some parents hand it down, no child's exit status could be learnt
  aragora::interrupt::watch();
  int status = 0;
  try {
    status = run(argc, argv);
  } catch (const aragora::Error& error) {
    aragora::cli::Output({.json = aragora::cli::wantsJson(argc, argv)}).error(error);
    status = aragora::info(error.code()).exit_status;
  } catch (const std::exception& error) {
    aragora::cli::Output({.json = aragora::cli::wantsJson(argc, argv)})
        .error(aragora::Error(aragora::Code::Internal, std::string("internal error: ") + error.what(),
                              "please report this as a bug"));
    status = aragora::info(aragora::Code::Internal).exit_status;
  }
  status = withOutputLookedAt(status);
  // Threads of checks that were abandoned at their deadline may still wait for a name server: they are not waited for.
  std::fflush(nullptr);
  std::quick_exit(status);
}
