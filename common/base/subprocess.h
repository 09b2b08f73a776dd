// Runs another program: arguments as a vector (never a shell), no descriptor and of our environment no variable but
// what is named here, standard output as a stream, standard error captured (last 64 KiB). Used for pg_dump, pg_restore
// and the programs named by *_COMMAND settings. Every wait has a deadline and ends early when a signal came
// (interrupt::check()); destruction kills the child with all that it started, and no child outlives the thread that
// started it, even one that is killed. Not thread-safe, one owner.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/interrupt.h"

namespace aragora {

struct Command {
  std::vector<std::string> argv;                   // argv[0] is looked up in PATH
  std::map<std::string, std::string> environment;  // added to what it gets of ours
  bool feed_input = false;                         // open a pipe to its standard input
  std::vector<int> descriptors = {};               // stay open in it, under their numbers; all others are closed
  std::vector<std::string_view> passes = {};       // of our environment besides the usual: NAME, or all of PREFIX*
  int death_signal = 15;                           // SIGTERM: what it gets when the thread that started it is gone
};

class Subprocess {
 public:
  // Throws Error(NoInput) when the program cannot be found.
  explicit Subprocess(const Command& command);
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;
  ~Subprocess();

  // Bytes of its standard output; 0 at the end. Throws Error(Unreachable) when `deadline` passes without any.
  std::size_t read(std::span<char> buffer, Deadline deadline);
  // All bytes to its standard input; throws Error(Io) when the child has closed it.
  void write(std::string_view bytes, Deadline deadline);
  void closeInput() { input_.reset(); }
  // Exit status (128 + signal when killed). Throws Error(Unreachable) after `deadline`, having killed it, and again
  // whenever a deadline of read() or write() killed it: what was cut short has no status.
  int wait(Deadline deadline);
  // Its exit status once it has ended by itself, without waiting.
  std::optional<int> ended();
  const std::string& errorOutput() const { return error_output_; }  // complete after wait() or ended()
  std::string errorOutputSoFar() const;                             // while it runs
  pid_t pid() const { return pid_; }                                // -1 once it has ended

 private:
  void watchOver();
  void readErrorsOf(Fd descriptor, const std::string& program);
  void readErrors(const std::stop_token& ended);
  void kill();
  void forget();
  [[noreturn]] void giveUp(const std::string& what);
  std::optional<int> reap();
  pid_t pid_ = -1;
  std::optional<int> status_;  // once it has ended
  std::string given_up_;       // why it was killed
  std::string name_;
  Fd input_;
  Fd output_;
  Fd error_;
  mutable std::mutex error_mutex_;  // of the output while the reader adds to it
  std::string error_output_;
  std::optional<interrupt::Obligation> obligation_;
  std::jthread error_reader_;
};

struct CommandResult {
  int status = 0;
  std::string output;
  std::string error_output;
};
// Runs to the end; output above `limit` is Error(Damaged).
CommandResult runCommand(const Command& command, std::chrono::milliseconds timeout, std::size_t limit = 16U << 20);
// The program's full path, from PATH and PostgreSQL's own directories on Debian (newest first).
std::optional<std::string> findProgram(const std::string& name);

}  // namespace aragora
