#include "common/backup/dump_loader.h"

#include <array>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/database/postgres/program_connection.h"

namespace aragora::backup {

namespace {
constexpr auto kLoadTimeout = std::chrono::hours(24);
constexpr std::string_view kFailure = "pg_restore: error: could not execute query: ";
constexpr std::string_view kCommand = "Command was: ";

// Holds no data, and nothing that guards it.
constexpr std::array kOptional = {
    "CREATE EXTENSION",   "COMMENT ON",           "CREATE PUBLICATION",  "ALTER PUBLICATION", "CREATE SUBSCRIPTION",
    "ALTER SUBSCRIPTION", "CREATE EVENT",         "ALTER EVENT",         "CREATE SERVER",     "ALTER SERVER",
    "CREATE FOREIGN",     "ALTER FOREIGN",        "CREATE USER MAPPING", "CREATE FUNCTION",   "CREATE PROCEDURE",
    "CREATE AGGREGATE",   "CREATE VIEW",          "CREATE OR REPLACE",   "CREATE LANGUAGE",   "CREATE TRUSTED",
    "CREATE PROCEDURAL",  "SECURITY LABEL",       "CREATE CAST",         "CREATE TRANSFORM",  "CREATE OPERATOR",
    "ALTER OPERATOR",     "CREATE ACCESS METHOD", "CREATE TRIGGER",      "CREATE STATISTICS", "CREATE TEXT SEARCH"};

bool begins(std::string_view command, const auto& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&](const auto* one) { return startsWith(command, one); });
}

bool feed(Subprocess& run, std::string_view bytes) {
  try {
    run.write(bytes, deadlineIn(kLoadTimeout));
    return true;
  } catch (const Error& error) {
    if (error.code() != Code::Io) throw;
    return false;  // it has read what it wanted
  }
}

struct Failure {
  std::string message;
  std::string command;  // its first line
};

std::string_view lineOf(std::string_view text) { return trim(text.substr(0, text.find('\n'))); }

std::vector<Failure> failuresIn(std::string_view text) {
  std::vector<Failure> failures;
  for (auto at = text.find(kFailure); at != std::string_view::npos;) {
    const auto next = text.find(kFailure, at + 1);
    auto block = text.substr(at + kFailure.size(), next - at - kFailure.size());
    const auto command = block.find(kCommand);
    failures.push_back(
        {std::string(lineOf(block)),
         command == std::string_view::npos ? "" : std::string(lineOf(block.substr(command + kCommand.size())))});
    at = next;
  }
  return failures;
}

Error failure(std::string_view text, bool environment) {
  return {environment ? Code::CouldNotVerify : Code::Damaged,
          fmt::format("pg_restore could not load it: {}", printable(trim(text), 300)),
          environment ? "this says nothing against the backup: mend the server, its roles or PATH" : ""};
}

// pg_restore prints what the server says, without the SQLSTATE, and in the server's language (lc_messages, LANGUAGE):
// only a superuser may choose another.
bool speaksEnglish(const database::Target& target) {
  try {
    database::connect(target)->query("SELECT 1 / 0", {});
  } catch (const Error& error) {
    if (error.code() == Code::Unreachable || error.code() == Code::Interrupted) throw;
    return std::string_view(error.what()).find("division by zero") != std::string_view::npos;
  }
  return false;
}
}  // namespace

bool speaksOfTheEnvironment(std::string_view message) {
  constexpr std::array kWords = {"permission denied",
                                 "superuser",
                                 "must be owner",
                                 "must be member",
                                 "must be able to SET ROLE",
                                 "is not available",
                                 "could not open extension control file",
                                 "could not access file",
                                 "does not exist",
                                 "No space left",
                                 "could not extend",
                                 "connection",
                                 "terminating",
                                 "the database system is",
                                 "too many clients",
                                 "out of memory",
                                 "canceling statement",
                                 "unsupported version",
                                 "is not trusted",
                                 "read-only",
                                 "unrecognized configuration",
                                 "server closed",
                                 "could not load library",
                                 "must be loaded via"};
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](const char* word) { return message.find(word) != std::string_view::npos; });
}

void requireRestoreProgram(const std::string& dumped_from) {
  const auto words = split(dumped_from, ' ');
  const auto major = words.size() >= 2 ? parseInteger(split(words[1], '.').front()) : std::nullopt;
  try {
    database::postgres::requireProgramVersion("pg_restore", static_cast<int>(major.value_or(0) * 10000));
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    throw Error(Code::CouldNotVerify, fmt::format("the backup cannot be read here: {}", error.what()), error.hint());
  }
}

DumpLoader::DumpLoader(const database::Target& target, Ownership ownership)
    : programs_(target.url), ownership_(ownership), english_(speaksEnglish(target)), structure_(start("pre-data")) {}

// What nobody here can read is no word against the backup.
bool DumpLoader::blamesEnvironment(std::string_view message) const {
  return !english_ || speaksOfTheEnvironment(message);
}

std::unique_ptr<Subprocess> DumpLoader::start(const std::string& section) const {
  std::vector<std::string> argv{"pg_restore", "--no-password", fmt::format("--section={}", section)};
  const bool data = section == "data";
  if (data) {
    argv.emplace_back("--exit-on-error");
    argv.emplace_back("--single-transaction");
  }
  if (data || ownership_ == Ownership::OfTheLoader) {
    argv.emplace_back("--no-owner");
    argv.emplace_back("--no-privileges");
  }
  auto command = programs_.command(argv);
  command.environment.emplace("LC_ALL", std::string(1, 'C'));  // its messages are read
  command.feed_input = true;
  return std::make_unique<Subprocess>(command);
}

void DumpLoader::write(std::string_view bytes) {
  if (structure_) {
    head_ += bytes;
    if (!feed(*structure_, bytes)) endOfStructure();
  } else if (data_takes_) {
    data_takes_ = feed(*data_, bytes);
  }
}

// pg_restore closes its input once it has made the structure: the table of contents lies in what it has read.
void DumpLoader::endOfStructure() {
  judge(*structure_);
  structure_.reset();
  data_ = start("data");
  data_takes_ = feed(*data_, head_);
}

void DumpLoader::finish() {
  if (structure_) endOfStructure();
  data_->closeInput();
  if (data_->wait(deadlineIn(kLoadTimeout)) != 0)
    throw failure(data_->errorOutput(), blamesEnvironment(data_->errorOutput()));
  const auto rest = start("post-data");
  feed(*rest, head_);
  judge(*rest);
}

void DumpLoader::judge(Subprocess& run) {
  run.closeInput();
  if (run.wait(deadlineIn(kLoadTimeout)) == 0) return;
  const auto failures = failuresIn(run.errorOutput());
  if (failures.empty()) throw failure(run.errorOutput(), blamesEnvironment(run.errorOutput()));
  for (const auto& one : failures) {
    const auto said = fmt::format("{} ({})", printable(one.command, 100), printable(one.message, 150));
    const bool environment = blamesEnvironment(one.message);
    if (begins(one.command, std::array{"GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES"}))
      (one.message.find("does not exist") == std::string::npos ? privileges_ : skipped_).push_back(said);
    else if (environment && (begins(one.command, kOptional) || one.command.find(" OWNER TO ") != std::string::npos))
      skipped_.push_back(said);
    else
      throw failure(fmt::format("{}: {}", one.message, one.command), environment);
  }
}

}  // namespace aragora::backup
