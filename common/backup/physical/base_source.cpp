#include "common/backup/physical/base_source.h"

#include "common/backup/physical/log_hold.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/database/postgres/program_connection.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kManifestLimit = 256U << 20;
constexpr auto kSilence = std::chrono::minutes(30);  // while the server checkpoints
constexpr auto kWholeCopy = std::chrono::hours(24);  // into a directory nothing is said on the way
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

namespace {
struct Tablespace {
  std::string oid;
  std::string location;
};

std::vector<Tablespace> describeCluster(const database::Target& target, BaseReport& report) {
  database::postgres::PostgresConnection connection(target);
  report.server_number = connection.serverVersion();
  database::postgres::requireProgramVersion("pg_basebackup", report.server_number);
  report.server_version = "PostgreSQL " + connection.query("SHOW server_version", {})[0].text(0);
  report.system_identifier = connection.query("SELECT system_identifier::text FROM pg_control_system()", {})[0].text(0);
  report.segment_size = static_cast<std::uint64_t>(
      connection.query("SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'", {})[0].integer(0));
  if (connection.query("SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user", {})[0].text(0) !=
      "t")
    throw Error(Code::Permission, "the database user may not copy the cluster",
                "ALTER ROLE … REPLICATION, and a replication line for it in pg_hba.conf");
  std::vector<Tablespace> spaces;
  for (const auto& row : connection.query("SELECT oid::text, pg_tablespace_location(oid) FROM pg_tablespace WHERE "
                                          "spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid",
                                          {}))
    spaces.push_back({row.text(0), row.text(1)});
  return spaces;
}

// All databases together; the log that goes with them is more. 0 when the server does not tell, which is no reason to
// do without a backup.
std::uint64_t sizeOfCluster(const database::Target& target) {
  try {
    const auto row = database::connect(target)->query(
        "SELECT bool_and(may), sum(CASE WHEN may THEN pg_database_size(oid) END)::bigint FROM (SELECT oid, "
        "has_database_privilege(oid, 'CONNECT') AS may FROM pg_database) d",
        {})[0];
    return row.text(0) == "t" ? static_cast<std::uint64_t>(row.optionalInteger(1).value_or(0)) : 0;
  } catch (const Error& error) {
    log::debug("the size of the cluster is not known: {}", error.what());
    return 0;
  }
}

std::vector<std::string> commonArguments(std::uint64_t max_rate) {
  std::vector<std::string> arguments{
      "pg_basebackup", "-X", "fetch", "-c", "fast", "--manifest-checksums=SHA256", "--no-password", "--label=aragora"};
  if (max_rate > 0)
    arguments.push_back(fmt::format("--max-rate={}k", std::clamp<std::uint64_t>(max_rate / 1024, 32, 1U << 20)));
  return arguments;
}

// Runs pg_basebackup; its output, if it has any, goes to `sink`.
void copyCluster(const database::Target& target, const std::vector<std::string>& arguments, LogHold& hold,
                 const ByteSink& sink) {
  const database::postgres::ProgramConnection programs(target.url);
  Subprocess program(programs.command(arguments));
  std::vector<char> buffer(1U << 20);
  const auto silence = sink ? kSilence : kWholeCopy;
  while (const auto got = program.read(buffer, deadlineIn(silence))) {
    hold.check();
    if (sink) sink(std::string_view(buffer.data(), got));
  }
  // End of output alone proves nothing: a program that died ends its output too.
  const int status = program.wait(deadlineIn(std::chrono::seconds(60)));
  if (status == 0) return;
  hold.check();
  throw Error(Code::Unreachable,
              fmt::format("pg_basebackup exited {}: {}", status, printable(trim(program.errorOutput()), 300)),
              hold.hint());
}

// Everything below `directory` under `prefix`; a tablespace's link as the directory that it leads to.
void archive(TarWriter& tar, const fs::path& directory, const std::string& prefix) {
  for (const auto& item : fs::directory_iterator(directory)) {
    const auto name = prefix + item.path().filename().string();
    if (item.is_directory()) {
      tar.directory(name);
      archive(tar, item.path(), name + "/");
    } else {
      tar.file(name, item.path());
    }
  }
}

void copyWithTablespaces(const database::Target& target, std::uint64_t max_rate, const std::vector<Tablespace>& spaces,
                         const fs::path& scratch, LogHold& hold, const ByteSink& sink) {
  makeDirectories(scratch, 0700);
  auto arguments = commonArguments(max_rate);
  arguments.insert(arguments.end(), {"-Fp", "--no-sync", "-D", (scratch / "data").string()});
  for (const auto& space : spaces)
    arguments.push_back(fmt::format("--tablespace-mapping={}={}", replaceAll(space.location, "=", "\\="),
                                    replaceAll((scratch / space.oid).string(), "=", "\\=")));
  copyCluster(target, arguments, hold, {});
  TarWriter tar(sink);
  archive(tar, scratch / "data", "");
  tar.finish();
}
}  // namespace

BaseReport streamBase(const database::Target& given, std::uint64_t max_rate, const fs::path& scratch,
                      const ByteSink& sink, Progress* progress) {
  const auto target = database::postgres::pinned(given);  // the copy, its log and its end are of one server
  BaseReport report;
  const auto spaces = describeCluster(target, report);
  LogHold hold(target, report.server_number);
  BaseChecker checker;
  const ByteSink checked = [&](std::string_view bytes) {
    checker.write(bytes);
    sink(bytes);
    add(progress, bytes.size());
  };
  const Phase reading{"reading the cluster", progress != nullptr ? sizeOfCluster(target) : 0, true};
  if (spaces.empty()) {
    begin(progress, reading);
    auto arguments = commonArguments(max_rate);
    arguments.insert(arguments.end(), {"-Ft", "-D", "-"});
    copyCluster(target, arguments, hold, checked);
  } else {
    std::error_code ignored;
    begin(progress, {"copying the cluster and its tablespaces"});
    try {
      copyWithTablespaces(target, max_rate, spaces, scratch, hold, [&, begun = false](std::string_view bytes) mutable {
        if (!begun) begin(progress, reading);
        begun = true;
        checked(bytes);
      });
    } catch (...) {
      fs::remove_all(scratch, ignored);
      throw;
    }
    fs::remove_all(scratch, ignored);
  }
  report.wal = checker.finish();
  // Later than the end of the copy by an instant, never earlier.
  report.stopped_at = database::connect(target)
                          ->query("SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint * 1000", {})[0]
                          .integer(0);
  return report;
}

}  // namespace aragora::backup
