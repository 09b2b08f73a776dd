#include "common/base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "common/base/error.h"
#include "common/base/process_tree.h"
#include "common/base/text.h"

extern char** environ;

namespace aragora {

namespace {
constexpr std::size_t kErrorOutputLimit = 65536;
constexpr int kPipeSize = 1 << 20;
constexpr int kLookForEnd = 50;               // milliseconds
constexpr std::size_t kMostLeft = 1U << 20U;  // of a program that has ended, whatever its children still write

std::pair<Fd, Fd> makePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throwSystemError(Code::Io, "create", "a pipe", errno);
  return {Fd(ends[0]), Fd(ends[1])};
}

// What a program needs to find its files, speak the user's language and know the time. Everything else of ours may be a
// secret. LD_ and FAKETIME: whoever lends us a library or another clock lends it to our children, too.
constexpr std::string_view kUsual[] = {"PATH", "HOME",  "USER",   "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*",
                                       "TZ",   "TZDIR", "TMPDIR", "TERM",    "XDG_*", "LD_*", "FAKETIME*"};

bool covers(std::string_view pattern, std::string_view name) {
  return endsWith(pattern, "*") ? startsWith(name, pattern.substr(0, pattern.size() - 1)) : name == pattern;
}

std::vector<std::string> environmentOf(const Command& command) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto name = text.substr(0, text.find('='));
    const auto named = [&](std::string_view pattern) { return covers(pattern, name); };
    if (command.environment.count(std::string(name)) == 0 &&
        (std::any_of(std::begin(kUsual), std::end(kUsual), named) ||
         std::any_of(command.passes.begin(), command.passes.end(), named)))
      result.emplace_back(text);
  }
  for (const auto& [name, value] : command.environment) result.push_back(name + "=" + value);
  return result;
}

// What the child needs between fork and exec, where nothing may be allocated.
struct Start {
  const char* program = nullptr;
  char* const* argv = nullptr;
  char* const* environment = nullptr;
  const Command* command = nullptr;
  std::array<int, 3> standard{};
  int failure = -1;
  pid_t parent = -1;
};

// Whoever opened a descriptor without O_CLOEXEC, and the sockets that systemd gave us.
void closeOursAtExec() {
  if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
  const long most = std::min(::sysconf(_SC_OPEN_MAX), 65536L);  // a kernel before 5.11
  for (int fd = 3; fd < most; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void setUp(const Start& start) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, start.command->death_signal);
  if (::getppid() != start.parent) ::_exit(127);  // gone before that
  const int input = start.standard[0] >= 0 ? start.standard[0] : ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(input, STDIN_FILENO);
  ::dup2(start.standard[1], STDOUT_FILENO);
  ::dup2(start.standard[2], STDERR_FILENO);
  closeOursAtExec();
  for (const int fd : start.command->descriptors) ::fcntl(fd, F_SETFD, 0);
  ::signal(SIGPIPE, SIG_DFL);
  for (int number = 1; number <= SIGRTMAX; ++number) ::signal(number, SIG_DFL);  // also what we ignore
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void becomeProgram(const Start& start) {
  setUp(start);
  ::execve(start.program, start.argv, start.environment);
  const int failed = errno;
  (void)!::write(start.failure, &failed, sizeof failed);
  ::_exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}
}  // namespace

std::optional<std::string> findProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return ::access(name.c_str(), X_OK) == 0 ? std::optional(name) : std::nullopt;
  }
  const char* path = std::getenv("PATH");
  for (const auto& directory : split(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin", ':')) {
    auto candidate = directory + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  for (int version = 20; version >= 14; --version) {
    auto candidate = fmt::format("/usr/lib/postgresql/{}/bin/{}", version, name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

Subprocess::Subprocess(const Command& command) : name_(command.argv.at(0)) {
  const auto program = findProgram(name_);
  if (!program) throw Error(Code::NoInput, fmt::format("program {} not found", name_), "install it or add it to PATH");
  auto [input_read, input_write] = makePipe();
  auto [output_read, output_write] = makePipe();
  auto [error_read, error_write] = makePipe();

  auto argv = command.argv;
  argv[0] = *program;  // postgres finds its own files by it, and PATH may not lead there
  auto environment = environmentOf(command);
  Start start;
  start.program = program->c_str();
  const auto arguments = pointers(argv);
  const auto variables = pointers(environment);
  start.argv = arguments.data();
  start.environment = variables.data();
  start.command = &command;
  start.standard = {command.feed_input ? input_read.get() : -1, output_write.get(), error_write.get()};
  auto [failure_read, failure_write] = makePipe();
  start.failure = failure_write.get();
  start.parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) becomeProgram(start);
  if (pid_ < 0) throwSystemError(Code::Io, "start", *program, errno);
  failure_write.reset();
  int failed = 0;
  if (::read(failure_read.get(), &failed, sizeof failed) == sizeof failed) {
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    throwSystemError(Code::NoInput, "run", *program, failed);
  }
  watchOver();
  readErrorsOf(std::move(error_read), *program);
  if (command.feed_input) {
    input_ = std::move(input_write);
    ::fcntl(input_.get(), F_SETFL, O_NONBLOCK);
  }
  output_ = std::move(output_read);
  ::fcntl(output_.get(), F_SETPIPE_SZ, kPipeSize);  // as much as the system gives: fewer turns between the two
}

// Without a reader the child would hang or be lost: it goes, too.
void Subprocess::readErrorsOf(Fd descriptor, const std::string& program) {
  error_ = std::move(descriptor);
  try {
    error_reader_ = std::jthread([this](const std::stop_token& ended) { readErrors(ended); });
  } catch (const std::system_error& error) {
    kill();
    throwSystemError(Code::Io, "start a thread beside", program, error.code().value());
  }
}

// To the end of it, or, once the program has ended, of what it has left there: a child of its own may keep it open.
void Subprocess::readErrors(const std::stop_token& ended) {
  ::fcntl(error_.get(), F_SETFL, O_NONBLOCK);
  char buffer[4096];
  for (std::size_t rest = kMostLeft; rest > 0;) {
    const bool last = ended.stop_requested();
    const ssize_t got = ::read(error_.get(), buffer, sizeof buffer);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR) || (got < 0 && last)) return;
    if (got < 0) {
      pollfd entry{error_.get(), POLLIN, 0};
      ::poll(&entry, 1, kLookForEnd);
      continue;
    }
    if (last) rest -= std::min(rest, static_cast<std::size_t>(got));
    const std::lock_guard lock(error_mutex_);
    error_output_.append(buffer, static_cast<std::size_t>(got));
    if (error_output_.size() > kErrorOutputLimit) error_output_.erase(0, error_output_.size() - kErrorOutputLimit);
  }
}

std::string Subprocess::errorOutputSoFar() const {
  const std::lock_guard lock(error_mutex_);
  return error_output_;
}

Subprocess::~Subprocess() { kill(); }

void Subprocess::watchOver() {
  obligation_.emplace([pid = pid_] { killTree(pid); });
}

void Subprocess::kill() {
  if (pid_ <= 0) return;
  killTree(pid_);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  status_ = 128 + SIGKILL;
  forget();
}

void Subprocess::forget() {
  pid_ = -1;
  obligation_.reset();
  error_reader_.request_stop();
  if (error_reader_.joinable()) error_reader_.join();
}

void Subprocess::giveUp(const std::string& what) {
  kill();
  given_up_ = fmt::format("{} {}", name_, what);
  throw Error(Code::Unreachable, given_up_);
}

std::size_t Subprocess::read(std::span<char> buffer, Deadline deadline) {
  while (true) {
    if (!interrupt::waitFor(output_.get(), POLLIN, deadline)) giveUp("gave no output before its deadline");
    const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) throwSystemError(Code::Io, "read from", name_, errno);
  }
}

void Subprocess::write(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    if (!interrupt::waitFor(input_.get(), POLLOUT, deadline)) giveUp("took no input before its deadline");
    const ssize_t put = ::write(input_.get(), bytes.data(), bytes.size());
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put < 0) throwSystemError(Code::Io, "write to", name_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

int Subprocess::wait(Deadline deadline) {
  input_.reset();
  if (!given_up_.empty()) throw Error(Code::Unreachable, given_up_);
  if (status_) return *status_;
  if (pid_ <= 0) throw Error(Code::Io, fmt::format("it is not known how {} ended", name_));
  while (true) {
    if (const auto status = reap()) return *status;
    interrupt::check();
    if (remaining(deadline).count() == 0) giveUp("did not end before its deadline and was killed");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

std::optional<int> Subprocess::ended() {
  interrupt::check();
  return status_ || pid_ <= 0 ? status_ : reap();
}

std::optional<int> Subprocess::reap() {
  ARAGORA_CHECK(pid_ > 0);  // for others waitpid would take any child's end
  int status = 0;
  const pid_t got = ::waitpid(pid_, &status, WNOHANG);
  if (got == 0) return std::nullopt;
  const int failed = errno;
  forget();
  // Somebody else took it, or SIGCHLD is ignored: no status is not a good one.
  if (got < 0) throwSystemError(Code::Io, "learn how it ended:", name_, failed);
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  interrupt::check();  // it may have ended of the same signal: its status says nothing
  return *status_;
}

CommandResult runCommand(const Command& command, std::chrono::milliseconds timeout, std::size_t limit) {
  const auto deadline = deadlineIn(timeout);
  Subprocess child(command);
  CommandResult result;
  std::vector<char> buffer(65536);
  while (const auto got = child.read(buffer, deadline)) {
    result.output.append(buffer.data(), got);
    if (result.output.size() > limit) throw Error(Code::Damaged, command.argv[0] + " printed more than expected");
  }
  result.status = child.wait(deadline);
  result.error_output = child.errorOutput();
  return result;
}

}  // namespace aragora
