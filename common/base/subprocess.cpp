#include "common/base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "common/base/error.h"
#include "common/base/text.h"

extern char** environ;

namespace aragora {

namespace {
constexpr std::size_t kErrorOutputLimit = 65536;
constexpr int kPipeSize = 1 << 20;

std::pair<Fd, Fd> makePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throwSystemError(Code::Io, "create", "a pipe", errno);
  return {Fd(ends[0]), Fd(ends[1])};
}

bool pollFor(int fd, short events, Deadline deadline) {
  pollfd entry{fd, events, 0};
  while (true) {
    const int ready = ::poll(&entry, 1, static_cast<int>(remaining(deadline).count()));
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) throwSystemError(Code::Io, "poll", "a pipe", errno);
  }
}

std::vector<std::string> mergedEnvironment(const std::map<std::string, std::string>& additions) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (additions.count(std::string(text.substr(0, text.find('=')))) == 0) result.emplace_back(text);
  }
  for (const auto& [name, value] : additions) result.push_back(name + "=" + value);
  return result;
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

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (command.feed_input) {
    posix_spawn_file_actions_adddup2(&actions, input_read.get(), STDIN_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  }
  posix_spawn_file_actions_adddup2(&actions, output_write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, error_write.get(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  auto argv = command.argv;
  argv[0] = *program;  // postgres finds its own files by it, and PATH may not lead there
  auto environment = mergedEnvironment(command.environment);
  const int failed =
      posix_spawn(&pid_, program->c_str(), &actions, &attributes, pointers(argv).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    pid_ = -1;
    throwSystemError(Code::NoInput, "run", *program, failed);
  }
  if (command.feed_input) {
    input_ = std::move(input_write);
    ::fcntl(input_.get(), F_SETFL, O_NONBLOCK);
  }
  output_ = std::move(output_read);
  ::fcntl(output_.get(), F_SETPIPE_SZ, kPipeSize);  // as much as the system gives: fewer turns between the two
  error_ = std::move(error_read);
  error_reader_ = std::thread([this] {
    char buffer[4096];
    ssize_t got = 0;
    while ((got = ::read(error_.get(), buffer, sizeof buffer)) > 0 || (got < 0 && errno == EINTR)) {
      if (got <= 0) continue;
      error_output_.append(buffer, static_cast<std::size_t>(got));
      if (error_output_.size() > kErrorOutputLimit) error_output_.erase(0, error_output_.size() - kErrorOutputLimit);
    }
  });
}

Subprocess::~Subprocess() {
  kill();
  if (error_reader_.joinable()) error_reader_.join();
}

void Subprocess::kill() {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::size_t Subprocess::read(std::span<char> buffer, Deadline deadline) {
  while (true) {
    if (!pollFor(output_.get(), POLLIN, deadline)) {
      kill();
      throw Error(Code::Unreachable, fmt::format("{} gave no output before its deadline", name_));
    }
    const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) throwSystemError(Code::Io, "read from", name_, errno);
  }
}

void Subprocess::write(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    if (!pollFor(input_.get(), POLLOUT, deadline)) {
      kill();
      throw Error(Code::Unreachable, fmt::format("{} took no input before its deadline", name_));
    }
    const ssize_t put = ::write(input_.get(), bytes.data(), bytes.size());
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put < 0) throwSystemError(Code::Io, "write to", name_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

int Subprocess::wait(Deadline deadline) {
  input_.reset();
  if (status_) return *status_;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (remaining(deadline).count() == 0) {
      kill();
      throw Error(Code::Unreachable, fmt::format("{} did not end before its deadline and was killed", name_));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return reaped(status);
}

std::optional<int> Subprocess::ended() {
  int status = 0;
  if (pid_ <= 0) return status_;
  if (::waitpid(pid_, &status, WNOHANG) == 0) return std::nullopt;
  return reaped(status);
}

int Subprocess::reaped(int status) {
  pid_ = -1;
  if (error_reader_.joinable()) error_reader_.join();
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
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
