#include "common/backup/verify_backup.h"

#include "common/backup/artifacts.h"
#include "common/backup/physical/base_source.h"
#include "common/backup/physical/private_cluster.h"
#include "common/backup/physical/recover.h"
#include "common/backup/server_files.h"
#include "common/backup/shrinkage.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/scratch.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
// Not the default of a small one: a whole database goes there.
fs::path scratchOf(const VerifyOptions& options) {
  return options.scratch_directory.empty() ? scratchDirectory() : options.scratch_directory;
}

// The database of a backup from its beginning to its end.
void readDatabase(const Entry& entry, const VerifyOptions& options, const ByteSink& sink) {
  const auto& record = *entry.manifest->file(content::kDatabase);
  begin(options.progress, {"reading the backup", record.plain_size});
  readArtifact(entry.directory, record, options.keyring->backupIdentities(), sink, options.progress);
}

// The whole dump goes through pg_restore --list; a truncated one passes that, which is why digests come first.
void checkDumpStructure(const Entry& entry, const VerifyOptions& options) {
  requireRestoreProgram(entry.manifest->server_version);
  // Into a file: a pipe that nobody reads would stop it.
  const TemporaryDirectory scratch;
  const auto table = scratch.path() / "list";
  Command command{{"pg_restore", "--list", "--file=" + table.string()}, {{"LC_ALL", "C"}}, true};
  command.passes = {"PGCLUSTER"};
  Subprocess list(command);
  bool taking = true;
  readDatabase(entry, options, [&](std::string_view bytes) {
    if (!taking) return;
    try {
      list.write(bytes, deadlineIn(std::chrono::minutes(5)));
    } catch (const Error& error) {
      if (error.code() != Code::Io) throw;
      taking = false;  // it has read its table of contents and closed the pipe; its exit status decides
    }
  });
  list.closeInput();
  const int status = list.wait(deadlineIn(std::chrono::minutes(5)));
  if (status > 128)
    throw Error(Code::CouldNotVerify, fmt::format("backup {}: pg_restore was killed by signal {} while it listed it",
                                                  entry.id, status - 128));
  std::error_code unknown;
  const auto listed = fs::file_size(table, unknown);
  if (status != 0 || unknown || listed == 0)
    throw Error(
        speaksOfTheEnvironment(list.errorOutput()) ? Code::CouldNotVerify : Code::Damaged,
        fmt::format("backup {}: pg_restore cannot list it: {}", entry.id, printable(trim(list.errorOutput()), 200)));
}

void checkSqliteStructure(const Entry& entry, const VerifyOptions& options) {
  std::string head;
  std::uint64_t size = 0;
  readDatabase(entry, options, [&](std::string_view bytes) {
    if (head.size() < 100) head.append(bytes.substr(0, 100 - head.size()));
    size += bytes.size();
  });
  // SQLite file format section 1.3: magic, page size at 16, page count at 28 (both big-endian).
  const auto number = [&](std::size_t at, int count) {
    std::uint64_t value = 0;
    for (int i = 0; i < count; ++i)
      value = value << 8 | static_cast<unsigned char>(head[at + static_cast<std::size_t>(i)]);
    return value;
  };
  if (head.size() < 100 || !startsWith(head, std::string_view("SQLite format 3\0", 16)))
    throw Error(Code::Damaged, fmt::format("backup {}: not a SQLite database", entry.id));
  const auto page_size = number(16, 2) == 1 ? 65536 : number(16, 2);
  if (page_size * number(28, 4) != size)
    throw Error(Code::Damaged, fmt::format("backup {}: the page count does not fit the size", entry.id));
}
// Into scratch, and a look inside: to the end of the copy, or through the log behind it along the way that it is on.
void recoverBase(const Entry& entry, const VerifyOptions& options, RecoveryTarget::Kind target, VerifyReport& report) {
  const TemporaryDirectory scratch(scratchOf(options));
  const auto& physical = *entry.manifest->physical;
  RecoverOptions how;
  how.directory = entry.directory.parent().parent();
  how.live = *options.postgres;
  how.keyring = options.keyring;
  how.target.kind = target;
  how.base = entry.id;
  how.to = scratch.path() / "cluster";
  how.verify = true;
  how.most_log = options.most_log;
  how.progress = options.progress;
  const auto listing = WalArchive(how.directory / "wal", *options.keyring).listing();
  const auto way = listing.reach(physical.timeline, physical.stop, logNeededFrom(listing, physical)).timeline;
  if (target == RecoveryTarget::Kind::Latest) how.timeline = way;
  giveToServerUser(scratch.path(), false);
  const auto recovered = recoverCluster(how);
  if (!recovered.against.empty())
    throw Error(Code::Damaged,
                fmt::format("backup {}: what was recovered does not verify: {}", entry.id, recovered.against));
  report.message +=
      fmt::format(", recovered into scratch and verified there ({})", counted(recovered.verified.size(), "check"));
  if (target != RecoveryTarget::Kind::Latest) return;
  report.replayed = Replayed{recovered.timeline, recovered.reached, recovered.whole_log};
  report.message += fmt::format(", with {} of log replayed through {}{}", humanBytes(recovered.log_bytes),
                                formatLsn(recovered.reached), recovered.whole_log ? "" : ", not to its end");
}

// The cluster's tar against PostgreSQL's own manifest, the files of the log behind it; then recoveries.
void verifyBase(const Entry& entry, const VerifyOptions& options, VerifyReport& report) {
  if (options.level >= 1) {
    BaseChecker checker;
    readDatabase(entry, options, [&](std::string_view bytes) { checker.write(bytes); });
    checker.finish();
    report.message += ", every file has the digest that PostgreSQL gave it";
  }
  const WalArchive log(entry.directory.parent().parent() / "wal", *options.keyring);
  if (log.segmentSize() > 0) {
    begin(options.progress, {"checking the log"});
    try {
      const auto files = log.check(*entry.manifest->physical, options.level >= 1);
      report.message +=
          fmt::format(", {} of log after it {}", counted(files, "file"), agreeing(files, "holds", "hold"));
    } catch (const Error& error) {
      if (error.code() != Code::Damaged) throw;
      report.log_problem = error.what();
    }
  }
  if (options.level < 2) return;
  if (!options.postgres)
    throw Error(Code::CouldNotVerify, "no PostgreSQL database is configured to look at",
                "set DATABASE_URL, or use --level 1");
  if (report.log_problem.empty() && log.segmentSize() > 0) {
    try {
      return recoverBase(entry, options, RecoveryTarget::Kind::Latest, report);
    } catch (const Error& error) {
      if (error.code() != Code::Damaged && error.code() != Code::NoInput) throw;
      report.log_problem = error.what();  // or the base's: its own recovery tells
    }
  }
  recoverBase(entry, options, RecoveryTarget::Kind::Consistent, report);
}
}  // namespace

namespace {
// What is not restored into a database: read to its end, and understood.
void checkReadable(const Entry& entry, const crypto::Keyring& keyring, VerifyReport& report) {
  if (const auto* debates = entry.manifest->file(content::kArtifacts)) {
    const auto counts = checkDebates(entry.directory, *debates, keyring);
    for (const auto& table : entry.manifest->tables) {
      if (table.rows != (table.name == "debates" ? counts.debates : counts.events))
        throw Error(Code::Damaged,
                    fmt::format("backup {}: it does not hold as many {} as recorded", entry.id, table.name));
    }
    report.message += fmt::format(", {} read and {} {} in their chains", counted(counts.debates, "debate"),
                                  counted(counts.events, "event"), agreeing(counts.events, "holds", "hold"));
  }
  if (const auto* settings = entry.manifest->file(content::kConfiguration)) {
    std::string text;
    readArtifact(entry.directory, *settings, keyring.backupIdentities(),
                 [&](std::string_view bytes) { text += bytes; });
    const auto value = tryParseJson(text);
    const auto* values = value && value->is_object() ? jsonObject(value->get_object(), "settings") : nullptr;
    if (values == nullptr) throw Error(Code::Damaged, fmt::format("backup {}: the settings cannot be read", entry.id));
    report.message += fmt::format(", {} read", counted(values->size(), "setting"));
    if (const auto* server = jsonObject(value->get_object(), "postgresql")) {
      const auto files = parseServerFiles(*server);
      report.message += fmt::format(", {} of PostgreSQL", counted(files.files.size(), "file"));
      for (const auto& file : files.files) {
        if (!file.content) report.message += fmt::format("; NOT SAVED: {}", file.missing);
      }
      if (!files.note.empty()) report.message += fmt::format(" ({})", files.note);
    }
  }
}
}  // namespace

namespace {
std::vector<std::string> whatShrank(const Entry& entry, const crypto::Keyring* keyring) {
  std::vector<Entry> before;
  bool found = false;  // a backup that lies by itself has none before it
  for (auto& other : Repository(entry.directory.parent().parent(), keyring, entry.manifest->kind).list()) {
    found = other.id == entry.id;
    if (found) break;
    before.push_back(std::move(other));
  }
  std::vector<std::string> lines;
  if (!found) return lines;
  for (const auto& shrunk : shrinkage(before, countsOf(*entry.manifest))) lines.push_back(describe(shrunk));
  return lines;
}
}  // namespace

namespace {
// The full backup is good without them. Those that hold; none when one does not.
std::vector<Increment> checkIncrements(const Entry& entry, const VerifyOptions& options, VerifyReport& report) {
  if (entry.manifest->engine != database::Engine::Sqlite || entry.manifest->kind != Kind::Full) return {};
  try {
    auto increments = incrementsOf(entry, *options.keyring);
    begin(options.progress, {.what = "checking increments", .total = increments.size(), .noun = "increment"});
    for (const auto& increment : increments) {
      checkStored(incrementsDirectory(entry), increment.file);
      if (options.level >= 1)
        readArtifact(incrementsDirectory(entry), increment.file, options.keyring->backupIdentities(),
                     [](std::string_view) {});
      add(options.progress, 1);
    }
    if (!increments.empty())
      report.message +=
          fmt::format(", so {} {}", agreeing(increments.size(), "does", "do"), counted(increments.size(), "increment"));
    return increments;
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    report.log_problem = error.what();
    return {};
  }
}

void landIncrements(const Entry& entry, const VerifyOptions& options, const std::vector<Increment>& increments,
                    const fs::path& file, VerifyReport& report) {
  try {
    landSqlite(entry, *options.keyring, file, increments, options.progress);
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    report.log_problem = error.what();
  }
}
}  // namespace

VerifyReport verifyBackup(const Entry& entry, const VerifyOptions& options) {
  const auto started = std::chrono::steady_clock::now();
  Repository::requireAuthentic(entry, *options.keyring);
  const auto& manifest = *entry.manifest;
  VerifyReport report;
  report.id = entry.id;
  report.level = options.level;
  report.warnings = whatShrank(entry, options.keyring);
  checkStored(entry.directory, manifest, options.progress);
  report.message = fmt::format("signature and {} hold", counted(manifest.files.size(), "file"));
  const auto increments = checkIncrements(entry, options, report);
  if (options.level >= 1) {
    for (const auto& file : manifest.files) {
      if (file.content != content::kDatabase)
        readArtifact(entry.directory, file, options.keyring->backupIdentities(), [](std::string_view) {});
    }
  }
  if (manifest.physical) {
    verifyBase(entry, options, report);
    report.seconds = secondsSince(started);
    return report;
  }
  if (manifest.kind == Kind::Configuration || manifest.kind == Kind::Artifacts) {
    report.level = std::min(options.level, 1);  // there is no database to restore it into
    if (options.level >= 1) checkReadable(entry, *options.keyring, report);
    report.seconds = secondsSince(started);
    return report;
  }
  if (options.level == 1) {
    if (manifest.engine == database::Engine::Sqlite)
      checkSqliteStructure(entry, options);
    else
      checkDumpStructure(entry, options);
    report.message += ", content and structure hold";
  }
  if (options.level >= 2) {
    Comparison comparison;
    if (manifest.engine == database::Engine::Sqlite) {
      const TemporaryDirectory scratch(scratchOf(options));
      comparison = landSqlite(entry, *options.keyring, scratch.path() / "scratch.db", {}, options.progress);
      if (!increments.empty()) landIncrements(entry, options, increments, scratch.path() / "latest.db", report);
    } else {
      if (!options.postgres)
        throw Error(Code::CouldNotVerify, "no PostgreSQL server is configured to restore into",
                    "set DATABASE_URL, or use --level 1");
      const ScratchDatabase scratch(*options.postgres, "aragora_verify_" + lower(newUlid()),
                                    propertiesOf(entry, *options.keyring));
      comparison = landPostgres(entry, *options.keyring, scratch.target(), Ownership::OfTheLoader, options.progress);
    }
    report.message += fmt::format(", restored into scratch: {}, {} as recorded", counted(comparison.tables, "table"),
                                  counted(comparison.rows, "row"));
    if (!comparison.skipped.empty())
      report.message += fmt::format("; left out, the data is complete: {}", join(comparison.skipped, "; "));
  }
  report.seconds = secondsSince(started);
  return report;
}

}  // namespace aragora::backup
