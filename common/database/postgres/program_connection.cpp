#include "common/database/postgres/program_connection.h"

#include "common/base/error.h"
#include "common/base/memory_file.h"
#include "common/base/text.h"
#include "common/database/postgres/connection_url.h"

namespace aragora::database::postgres {

namespace {
constexpr const char* kService = "aragora";

// libpq reads a line a parameter and drops the blanks at its end.
void requireOneLine(const std::string& name, const std::string& value) {
  if (value.find('\n') == std::string::npos &&
      (value.empty() || std::isspace(static_cast<unsigned char>(value.back())) == 0))
    return;
  throw Error(Code::Config, fmt::format("the database URL: {} ends with a blank or has several lines", name),
              "PostgreSQL's programs cannot be given that: change it");
}
}  // namespace

ProgramConnection::ProgramConnection(const Secret& url)
    : environment_{{"PGCONNECT_TIMEOUT", "10"}, {"PGCLIENTENCODING", "UTF8"}} {
  auto parts = namedIn(url);
  for (const auto& [name, value] : parseUrl(url)) parts.try_emplace(name, value);  // and what libpq would choose
  std::string text = fmt::format("[{}]\n", kService);
  for (const auto& [name, value] : parts) {
    if (name == "password") {
      usePassword(value);
      continue;
    }
    if (name == "client_encoding") continue;
    requireOneLine(name, value);
    text += fmt::format("{}={}\n", name, value);
  }
  service_ = sealedInMemory("pg_service.conf", Secret(std::move(text)));
  environment_["PGSERVICEFILE"] = pathOf(service_);
}

// A service file drops blanks at its end, and who reads the environment of the program would see it there: in a file of
// passwords it stands as it is. That has no way to write a line end, which no other has either.
void ProgramConnection::usePassword(const std::string& password) {
  if (password.find_first_of("\r\n") != std::string::npos)
    throw Error(Code::Config, "the database URL: password has several lines",
                "PostgreSQL's programs cannot be given that: change it");
  const auto written = replaceAll(replaceAll(password, "\\", "\\\\"), ":", "\\:");
  passwords_ = sealedInMemory("pgpass", Secret(fmt::format("*:*:*:*:{}\n", written)));
  environment_["PGPASSFILE"] = pathOf(passwords_);
  environment_["PGPASSWORD"] = "";  // of ours: nothing of it goes on
}

Command ProgramConnection::command(std::vector<std::string> argv) const {
  argv.push_back(fmt::format("--dbname=service={}", kService));
  Command command{std::move(argv), environment_, false};
  command.descriptors = {service_.get()};
  if (passwords_.valid()) command.descriptors.push_back(passwords_.get());
  command.passes = {"PG*"};
  return command;
}

void requireProgramVersion(const std::string& program, int server_version) {
  Command command{{program, "--version"}, {}, false};
  command.passes = {"PGCLUSTER"};  // Debian's programs choose their version by it
  const auto outcome = runCommand(command, std::chrono::seconds(10));
  const auto words = split(outcome.output, ' ');
  const auto major = words.size() >= 3 ? parseInteger(split(words[2], '.').front()) : std::nullopt;
  if (!major) throw Error(Code::CouldNotVerify, fmt::format("{} does not say its version", program));
  if (*major < server_version / 10000) {
    throw Error(Code::Config,
                fmt::format("{} is version {}, the server is {}", program, *major, server_version / 10000),
                fmt::format("apt-get install postgresql-client-{}", server_version / 10000));
  }
}

}  // namespace aragora::database::postgres
