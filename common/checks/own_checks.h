// Checks that an organisation adds: checks.d/*.toml beside the configuration, each [[check]] a box of its own. They run
// with the others, with deadlines of their own, and are reported like them. A file that somebody else could have
// written is refused: a command in it would be run with our rights.
#pragma once

#include "common/checks/check.h"

namespace aragora::checks {

enum class OwnKind { Command, Http, File, Port, Certificate };

struct OwnCheck {
  std::string id;
  std::string title;
  OwnKind kind = OwnKind::Command;
  Level severity = Level::Failure;  // or Warning: of what is not as expected
  std::chrono::milliseconds timeout{5000};
  std::string fix;
  std::string origin;  // checks.d/ntp.toml:3

  std::vector<std::string> command{};  // never through a shell
  std::string user{};                  // who runs it; empty: see the manual
  std::int64_t exit_status = 0;
  std::string url{};
  std::string authorities{};  // a PEM file
  std::int64_t status = 200;
  std::string contains{};  // of the output or the answer
  std::string path{};
  bool exists = true;
  std::optional<unsigned> mode{};  // no bit more
  std::string owner{};
  std::optional<std::int64_t> max_age_hours{};
  std::string host{};
  std::uint16_t port = 0;
  bool open = true;
  std::int64_t days = 21;  // that a certificate is to be valid
};

struct OwnChecks {
  std::string directory;
  std::vector<Check> checks;  // their texts live as long as this
  std::vector<std::shared_ptr<const OwnCheck>> entries;
  std::vector<Finding> problems;  // of the files: nothing of a file with one is run
};

// Of the directory beside the configuration that was read; of the installed one when none was.
std::shared_ptr<const OwnChecks> loadOwnChecks(const std::string& config_file);

// Private to common/checks: one look, as a finding.
std::vector<Finding> lookAtOwn(const OwnCheck& check);

}  // namespace aragora::checks
