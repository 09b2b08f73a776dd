// What the kinds of own checks look at.
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/account.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/checks/own_checks.h"
#include "common/checks/settings_checks.h"
#include "common/crypto/certificate.h"
#include "common/probe/simple.h"

namespace aragora::checks {

namespace {
constexpr std::size_t kLongestOutput = 64 * 1024;
constexpr std::size_t kShown = 200;
constexpr std::int64_t kDay = 86'400'000'000LL;

Finding good(const OwnCheck& check, const std::string& seen) { return ok(fmt::format("{}: {}", check.title, seen)); }

Finding bad(const OwnCheck& check, const std::string& seen) {
  return {check.severity, fmt::format("{}: {}", check.title, seen), check.origin, check.fix, Code::CheckFailed};
}

Finding unseen(const OwnCheck& check, const std::string& why, std::string hint) {
  return {Level::Failure, fmt::format("{}: {}", check.title, why), check.origin, std::move(hint), Code::CouldNotVerify};
}

std::string excerpt(const std::string& output) {
  const auto text = redact(printable(trim(output), kShown));
  return text.empty() ? "nothing" : fmt::format("\"{}\"", text);
}

// As root never as root, unless the file says so: as the service's user, or as nobody.
std::optional<Command> commandOf(const OwnCheck& check, std::string& trouble) {
  Command command{check.command, {}, false};
  const bool root = ::geteuid() == 0;
  if (!root && check.user.empty()) return command;
  const auto account = !check.user.empty()         ? findAccount(check.user)
                       : findAccount(kServiceUser) ? findAccount(kServiceUser)
                                                   : findAccount("nobody");
  if (!account)
    trouble = fmt::format("there is no user {}", check.user.empty() ? "nobody" : printable(check.user, 40));
  else if (!root && account->user != ::geteuid())
    trouble = fmt::format("only root can run it as {}", account->name);
  else
    return account->user == ::geteuid() ? command : commandAs(*account, std::move(command));
  return std::nullopt;
}

Finding lookByCommand(const OwnCheck& check) {
  std::string trouble;
  const auto command = commandOf(check, trouble);
  if (!command) return unseen(check, trouble, "run validate-env as root, or correct user");
  try {
    const auto result = runCommand(*command, check.timeout, kLongestOutput);
    if (result.status != check.exit_status)
      return bad(check,
                 fmt::format("{} exited {} instead of {}, and printed {}", check.command.front(), result.status,
                             check.exit_status, excerpt(result.output.empty() ? result.error_output : result.output)));
    if (result.output.find(check.contains) == std::string::npos)
      return bad(check, fmt::format("{} printed {} instead of \"{}\"", check.command.front(), excerpt(result.output),
                                    printable(check.contains, kShown)));
    return good(check, check.contains.empty() ? fmt::format("exit status {}", result.status)
                                              : fmt::format("\"{}\"", printable(check.contains, kShown)));
  } catch (const Error& error) {
    if (error.code() == Code::Unreachable)
      return bad(check, fmt::format("{} did not end within {}, and was killed", check.command.front(),
                                    humanDuration(check.timeout)));
    if (error.code() == Code::Interrupted) throw;
    return bad(check, error.what());
  }
}

Finding lookByRequest(const OwnCheck& check) {
  const auto reply = probe::fetch(check.url, {check.authorities}, check.timeout);
  if (reply.status != check.status)
    return bad(check, fmt::format("{} answered {} instead of {}", check.url, reply.status, check.status));
  if (reply.body.find(check.contains) == std::string::npos)
    return bad(check,
               fmt::format("the answer of {} does not contain \"{}\"", check.url, printable(check.contains, kShown)));
  return good(check, fmt::format("{} answered {}", check.url, reply.status));
}

Finding lookAtFile(const OwnCheck& check) {
  struct stat status {};
  if (::stat(check.path.c_str(), &status) != 0) {
    if (errno != ENOENT && errno != ENOTDIR)
      return unseen(check, fmt::format("{} cannot be looked at: {}", check.path, systemError(errno)),
                    "run as a user who may");
    return check.exists ? bad(check, check.path + " is not there") : good(check, check.path + " is not there");
  }
  if (!check.exists) return bad(check, check.path + " is there");
  const auto mode = static_cast<unsigned>(status.st_mode) & 07777U;
  if (check.mode && (mode & ~*check.mode) != 0)
    return bad(check, fmt::format("{} has mode {:04o}, more than {:04o}", check.path, mode, *check.mode));
  const auto owner = findAccount(status.st_uid);
  const auto name = owner ? owner->name : fmt::format("{}", status.st_uid);
  if (!check.owner.empty() && check.owner != name)
    return bad(check, fmt::format("{} belongs to {} instead of {}", check.path, name, check.owner));
  const auto hours = (nowMicros() / 1'000'000 - status.st_mtim.tv_sec) / 3600;
  if (check.max_age_hours && hours >= *check.max_age_hours)
    return bad(check, fmt::format("{} was written {} ago, more than {}", check.path, counted(hours, "hour"),
                                  *check.max_age_hours));
  return good(check, fmt::format("{} is there (mode {:04o}, of {})", check.path, mode, name));
}

Finding lookAtPort(const OwnCheck& check) {
  const auto where = fmt::format("{} port {}", check.host, check.port);
  try {
    probe::reachPort(check.host, check.port, check.timeout);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    return check.open ? bad(check, error.what()) : good(check, where + " is closed");
  }
  return check.open ? good(check, where + " is open") : bad(check, where + " is open");
}

Finding lookAtCertificateOf(const OwnCheck& check) {
  const auto what = check.path.empty() ? fmt::format("the certificate of {}:{}", check.host, check.port) : check.path;
  probe::ShownCertificate shown;
  if (check.path.empty())
    shown = probe::certificateOf(check.host, check.port, check.authorities, check.timeout);
  else
    shown.not_after = crypto::certificateExpiry(check.path);
  const auto days = (shown.not_after - nowMicros()) / kDay;
  if (shown.not_after < nowMicros()) return bad(check, fmt::format("{} expired {}", what, toIso(shown.not_after)));
  if (!shown.untrusted.empty()) return bad(check, shown.untrusted);
  const auto left = fmt::format("{} is valid for {}", what, counted(days, "day"));
  return days < check.days ? bad(check, fmt::format("{}, less than {}", left, check.days)) : good(check, left);
}

Finding look(const OwnCheck& check) {
  switch (check.kind) {
    case OwnKind::Command:
      return lookByCommand(check);
    case OwnKind::Http:
      return lookByRequest(check);
    case OwnKind::File:
      return lookAtFile(check);
    case OwnKind::Port:
      return lookAtPort(check);
    case OwnKind::Certificate:
      return lookAtCertificateOf(check);
  }
  return unseen(check, "unknown kind", "");
}
}  // namespace

std::vector<Finding> lookAtOwn(const OwnCheck& check) {
  try {
    return {look(check)};
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    return {bad(check, error.what())};
  }
}

}  // namespace aragora::checks
