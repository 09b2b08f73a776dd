#include "common/backup/physical/base_source.h"

#include "common/base/error.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kManifestLimit = 256U << 20;
constexpr auto kSilence = std::chrono::minutes(30);  // while the server checkpoints
constexpr std::string_view kManifestName = "backup_manifest";

[[noreturn]] void damaged(const std::string& what) {
  throw Error(Code::Damaged, "the base backup is damaged: " + what);
}
}  // namespace

BaseChecker::BaseChecker()
    : tar_({[this](const TarEntry& entry) {
              name_ = entry.name;
              size_ = entry.size;
              hash_.emplace();
            },
            [this](std::string_view bytes) {
              if (name_ != kManifestName) return hash_->update(bytes);
              manifest_ += bytes;
              if (manifest_.size() > kManifestLimit) damaged("its manifest is too large");
            },
            [this] {
              if (name_ == kManifestName) return;
              if (!seen_.emplace(name_, Seen{size_, hash_->finishHex()}).second)
                damaged(fmt::format("{} is in it twice", name_));
            }}) {}

BaseChecker::WalRange BaseChecker::finish() {
  tar_.finish();
  // The sum covers everything before the line that holds it.
  const auto line = manifest_.rfind("\"Manifest-Checksum\"");
  const auto value = tryParseJson(manifest_);
  if (line == std::string::npos || !value || !value->is_object()) damaged("its manifest cannot be read");
  const auto& manifest = value->get_object();
  if (crypto::sha256Hex(std::string_view(manifest_).substr(0, line)) != jsonTextOr(manifest, "Manifest-Checksum", ""))
    damaged("its manifest does not have its sum");
  compareFiles(manifest);
  const auto* ranges = jsonArray(manifest, "WAL-Ranges");
  if (ranges == nullptr || ranges->size() != 1 || !ranges->front().is_object())
    damaged("its manifest names no range of WAL");
  const auto& range = ranges->front().get_object();
  const auto start = parseLsn(jsonTextOr(range, "Start-LSN", ""));
  const auto stop = parseLsn(jsonTextOr(range, "End-LSN", ""));
  const auto timeline = jsonIntegerOr(range, "Timeline", 0);
  if (!start || !stop || timeline < 1) damaged("its manifest names no range of WAL");
  return {static_cast<std::uint32_t>(timeline), *start, *stop};
}

void BaseChecker::compareFiles(const json::object& manifest) const {
  const auto* files = jsonArray(manifest, "Files");
  if (files == nullptr) damaged("its manifest lists no files");
  std::set<std::string> listed;
  for (const auto& element : *files) {
    if (!element.is_object()) damaged("its manifest cannot be read");
    const auto& file = element.get_object();
    auto path = jsonTextOr(file, "Path", "");
    if (path.empty()) path = fromHex(jsonTextOr(file, "Encoded-Path", "")).value_or("");
    const auto found = seen_.find(path);
    if (found == seen_.end()) damaged(fmt::format("{} is missing", printable(path, 100)));
    if (static_cast<std::int64_t>(found->second.size) != jsonIntegerOr(file, "Size", -1) ||
        jsonTextOr(file, "Checksum-Algorithm", "") != "SHA256" ||
        found->second.sha256 != jsonTextOr(file, "Checksum", ""))
      damaged(fmt::format("{} does not have the digest that PostgreSQL gave it", printable(path, 100)));
    listed.insert(std::move(path));
  }
  for (const auto& [name, file] : seen_) {
    // The log is protected by its own sums and need not be listed.
    if (listed.count(name) == 0 && !startsWith(name, "pg_wal/"))
      damaged(fmt::format("{} is in it, but not in its manifest", printable(name, 100)));
  }
}

void requireProgramVersion(const std::string& program, int server_version) {
  const auto outcome = runCommand({{program, "--version"}, {}, false}, std::chrono::seconds(10));
  const auto words = split(outcome.output, ' ');
  const auto major = words.size() >= 3 ? parseInteger(split(words[2], '.').front()) : std::nullopt;
  if (!major) throw Error(Code::CouldNotVerify, fmt::format("{} does not say its version", program));
  if (*major < server_version / 10000) {
    throw Error(Code::Config,
                fmt::format("{} is version {}, the server is {}", program, *major, server_version / 10000),
                fmt::format("apt-get install postgresql-client-{}", server_version / 10000));
  }
}

BaseReport streamBase(const database::Target& target, std::uint64_t max_rate, const ByteSink& sink) {
  BaseReport report;
  {
    database::postgres::PostgresConnection connection(target);
    requireProgramVersion("pg_basebackup", connection.serverVersion());
    report.server_version = "PostgreSQL " + connection.query("SHOW server_version", {})[0].text(0);
    report.system_identifier =
        connection.query("SELECT system_identifier::text FROM pg_control_system()", {})[0].text(0);
    report.segment_size = static_cast<std::uint64_t>(
        connection.query("SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'", {})[0].integer(0));
    const auto spaces = connection.query(
        "SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') LIMIT 1", {});
    if (!spaces.empty())
      throw Error(Code::Config,
                  fmt::format("the cluster has the tablespace {}, which a stream cannot hold", spaces[0].text(0)),
                  "move its tables to pg_default, or use logical backups");
    if (connection.query("SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user", {})[0].text(
            0) != "t")
      throw Error(Code::Permission, "the database user may not copy the cluster",
                  "ALTER ROLE … REPLICATION, and a replication line for it in pg_hba.conf");
  }
  std::vector<std::string> arguments{
      "pg_basebackup",  "-D", "-", "-Ft", "-X", "fetch", "-c", "fast", "--manifest-checksums=SHA256", "--no-password",
      "--label=aragora"};
  if (max_rate > 0)
    arguments.push_back(fmt::format("--max-rate={}k", std::clamp<std::uint64_t>(max_rate / 1024, 32, 1U << 20)));
  Subprocess program({arguments, database::postgres::programEnvironment(target.url), false});
  BaseChecker checker;
  std::vector<char> buffer(1U << 20);
  while (const auto got = program.read(buffer, deadlineIn(kSilence))) {
    const std::string_view bytes(buffer.data(), got);
    checker.write(bytes);
    sink(bytes);
  }
  // End of output alone proves nothing: a program that died ends its output too.
  const int status = program.wait(deadlineIn(std::chrono::seconds(60)));
  if (status != 0)
    throw Error(Code::Unreachable,
                fmt::format("pg_basebackup exited {}: {}", status, printable(trim(program.errorOutput()), 300)));
  report.wal = checker.finish();
  return report;
}

}  // namespace aragora::backup
