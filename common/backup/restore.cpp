#include "common/backup/restore.h"

#include <unistd.h>

#include "common/backup/artifact.h"
#include "common/backup/postgres_site.h"
#include "common/backup/sessions.h"
#include "common/base/abilities.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/database/sqlite/usage_lock.h"
#include "common/store/settings.h"
#include "common/verify/verify.h"

namespace aragora::backup {

using database::Engine;

namespace {
class Run {
 public:
  Run(const Entry& entry, const RestoreOptions& options) : entry_(entry), options_(options) {}

  RestoreReport restore() {
    const auto started = std::chrono::steady_clock::now();
    report_.id = entry_.id;
    checkEverything();
    if (options_.target.engine == Engine::Sqlite)
      restoreSqlite();
    else
      restorePostgres();
    if (!options_.dry_run && !options_.to) putSessionsBack();
    report_.seconds = secondsSince(started);
    return std::move(report_);
  }

 private:
  void checkEverything() {
    Repository::requireAuthentic(entry_, *options_.keyring);
    if (entry_.manifest->kind != Kind::Full)
      throw Error(Code::Usage, fmt::format("{} is a backup of kind {}", entry_.id, name(entry_.manifest->kind)),
                  entry_.manifest->kind == Kind::Base ? "recover from it with --latest or a target, and --to DIRECTORY"
                                                      : "read it with: age -d -i IDENTITY FILE | zstd -d");
    const auto wanted = entry_.manifest->engine;
    if (wanted != options_.target.engine) {
      throw Error(Code::Config,
                  fmt::format("the backup is of {}, the configuration names {}", database::name(wanted),
                              database::name(options_.target.engine)),
                  wanted == Engine::Postgres ? "set DATABASE_URL" : "unset DATABASE_URL");
    }
    checkStored(entry_.directory, *entry_.manifest, options_.progress);
    report_.as_of = entry_.manifest->started_at;
    if (!options_.increments || wanted != Engine::Sqlite) return;
    increments_ = incrementsOf(entry_, *options_.keyring, options_.until);
    for (const auto& increment : increments_) checkStored(incrementsDirectory(entry_), increment.file);
    report_.increments = increments_.size();
    if (!increments_.empty()) report_.as_of = increments_.back().at;
  }

  void putSessionsBack() {
    const auto* record = entry_.manifest->file(content::kSessions);
    if (record == nullptr || !options_.redis_url) return;
    std::string lines;
    readArtifact(entry_.directory, *record, options_.keyring->backupIdentities(),
                 [&](std::string_view bytes) { lines += bytes; });
    try {
      report_.sessions = restoreSessions(*options_.redis_url, lines);
    } catch (const Error& error) {
      log::warning("the data is restored, the sessions are not: {}", error.what());
    }
  }

  void say(std::string line) { report_.plan.push_back(std::move(line)); }

  // `keep` gives what landed a name under which it stays: a restore that finished is never thrown away.
  void proveLanded(const database::Target& landed, const std::function<std::string()>& keep) {
    if (!options_.verify) return;
    verify::Options how;
    how.keyring = options_.keyring;
    how.expected_version = entry_.manifest->migration_version;
    how.progress = options_.progress;
    const auto found = verify::verifyDatabase(landed, how);
    report_.verified = found.held();
    const auto warnings = found.warnings();
    report_.warnings.insert(report_.warnings.end(), warnings.begin(), warnings.end());
    if (found.againstRestored() != nullptr) throw found.refusal(keep());
  }

  void restoreSqlite() {
    // A link stays; what it leads to is exchanged.
    const auto target = database::sqlite::realFile(options_.to ? fs::path(*options_.to) : options_.target.path);
    const bool exists = fs::exists(target);
    if (options_.to && exists)
      throw Error(Code::CannotCreate, fmt::format("{} exists already", target.string()),
                  "name a file that does not exist");
    const auto landing = fs::path(target.string() + ".restore-" + entry_.id);
    const auto kept = freeName(target.string() + ".pre-restore-");
    requireFreeSpace(nearestFolder(target), entry_.manifest->file(content::kDatabase)->plain_size);
    if (options_.dry_run) {
      if (exists) requireUsageLock(target);
      say(fmt::format("decrypt {} ({}) into {}", entry_.manifest->file(content::kDatabase)->path,
                      humanBytes(entry_.manifest->file(content::kDatabase)->plain_size), landing.string()));
      if (!increments_.empty())
        say(fmt::format("apply {}, through {}", counted(increments_.size(), "increment"),
                        toIso(increments_.back().at)));
      say(fmt::format("check pages, foreign keys and the counts of {}",
                      counted(entry_.manifest->tables.size(), "table")));
      if (exists) say(fmt::format("keep {} as {}", target.string(), kept.string()));
      say(fmt::format("rename it to {}", target.string()));
      return;
    }
    makeDirectories(target.parent_path(), 0750);
    // Held until the swap is done, so that no daemon starts in between.
    const auto usage = requireUsageLock(target);
    const auto removeLanding = [landing] {
      std::error_code ignored;
      if (fs::remove(landing, ignored)) interrupt::removed(landing.string());
      for (const auto* suffix : {"-wal", "-shm"}) fs::remove(landing.string() + suffix, ignored);
    };
    removeWhatKilledRunsLeft(target);
    const interrupt::Obligation obligation(removeLanding);
    try {
      const auto comparison = landSqlite(entry_, *options_.keyring, landing, increments_, options_.progress);
      report_.tables = comparison.tables;
      report_.rows = comparison.rows;
      database::Target landed = options_.target;
      landed.path = landing;
      proveLanded(landed, [&] {
        const auto name = freeName(target.string() + ".unverified-");
        foldWal(landing);
        renameDurably(landing, name);
        return name.string();
      });
      if (!options_.to) beginEpoch(landed);
      foldWal(landing);
    } catch (...) {
      removeLanding();
      throw;
    }
    if (exists) {
      takeAfter(openForReading(landing), target);
      keepOld(target, kept);
    }
    takeThePlace(landing, target);
    report_.landed = target.string();
  }

  // Where the old one had to be moved away it comes back when the new one cannot take its place.
  void takeThePlace(const fs::path& landing, const fs::path& target) const {
    try {
      renameDurably(landing, target);
    } catch (const Error&) {
      std::error_code ignored;
      if (!report_.kept.empty() && !fs::exists(target, ignored)) fs::rename(report_.kept, target, ignored);
      throw;
    }
  }

  static database::sqlite::UsageLock requireUsageLock(const fs::path& target) {
    if (auto usage = database::sqlite::UsageLock::tryAcquire(target)) return std::move(*usage);
    throw Error(Code::Busy,
                fmt::format("a daemon uses {} ({})", target.string(), database::sqlite::UsageLock::holder(target)),
                "stop it first: systemctl stop aragora.socket aragora");
  }

  // The first folder on the way up that exists: the others will be made in it.
  static fs::path nearestFolder(const fs::path& file) {
    auto folder = fs::absolute(file).parent_path();
    while (folder.has_relative_path() && !fs::exists(folder)) folder = folder.parent_path();
    return folder;
  }

  // Under the usage lock nobody else restores to the same place.
  static void removeWhatKilledRunsLeft(const fs::path& target) {
    std::error_code ignored;
    std::vector<fs::path> found;
    for (const auto& item : fs::directory_iterator(target.parent_path(), ignored)) {
      if (startsWith(item.path().filename().string(), target.filename().string() + ".restore-"))
        found.push_back(item.path());
    }
    for (const auto& path : found) {
      if (fs::remove(path, ignored)) log::warning("removed {}: a run that was killed left it", path.string());
    }
  }

  // From now on it is another database than the one whose history it shares: increments say which they are of.
  static void beginEpoch(const database::Target& landed) {
    database::connect(landed)->query(
        "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET value = "
        "excluded.value, updated_at = excluded.updated_at",
        {std::string(store::kDatabaseEpoch), newUlid(), nowMicros()});
  }

  // A second restore in the same second must not meet the first one's.
  static fs::path freeName(const std::string& prefix) {
    const auto base = prefix + toCompactIso(nowMicros());
    fs::path name = base;
    for (int i = 2; fs::exists(name); ++i) name = fmt::format("{}-{}", base, i);
    return name;
  }

  // Everything into the one file, so that no -wal has to move with it.
  static void foldWal(const fs::path& file) {
    database::Target target;
    target.path = file;
    database::connect(target)->executeScript("PRAGMA journal_mode=DELETE");
    std::error_code ignored;
    fs::remove(file.string() + "-shm", ignored);
    const Fd fd = openForReading(file);
    syncFile(fd.get(), file);
  }

  // A stale -wal beside the new file would be applied to it: it goes first, folded in or moved along.
  void keepOld(const fs::path& target, const fs::path& kept) {
    std::error_code ignored;
    try {
      foldWal(target);
    } catch (const Error&) {
      for (const auto* suffix : {"-wal", "-shm"}) {  // too damaged to open: kept as it is
        if (fs::exists(target.string() + suffix, ignored))
          renameDurably(target.string() + suffix, kept.string() + suffix);
      }
    }
    if (::link(target.c_str(), kept.c_str()) == 0) {
      syncDirectory(kept.parent_path());
    } else {
      if (!hasNoLinks(errno)) throwSystemError(Code::CannotCreate, "keep the old database as", kept.string(), errno);
      renameDurably(target, kept);  // there is none under the name until the new one takes it
    }
    report_.kept = kept.string();
  }

  void restorePostgres() {
    const PostgresSite site(options_.target);
    const auto& live = site.live();
    const auto landing = options_.to ? *options_.to : "aragora_restore_" + lower(newUlid());
    const auto properties = propertiesOf(entry_, *options_.keyring);
    site.requireRoom(landing, entry_.manifest->file(content::kDatabase)->plain_size);
    if (properties) site.requireRoles(*properties);
    requireRestoreProgram(entry_.manifest->server_version);
    if (!options_.to) site.requireReplaceable();
    const auto kept = options_.to || !site.exists() ? std::string() : site.freeName("_pre_restore_");
    ScratchDatabase scratch(options_.target, landing, properties);
    site.swap({landing, options_.to ? landing : live, kept}, properties, PostgresSite::Swap::Rehearsal);
    if (options_.dry_run) return planPostgres(site, landing, kept, properties);
    const auto keep = [&](const std::string& why) {
      const auto name = options_.to ? landing : site.freeName(why);
      if (name != landing) scratch.rename(name);
      scratch.keep();
      return "database " + name;
    };
    try {
      const auto comparison =
          landPostgres(entry_, *options_.keyring, scratch.target(), Ownership::AsDumped, options_.progress);
      report_.tables = comparison.tables;
      report_.rows = comparison.rows;
      report_.warnings = comparison.skipped;
    } catch (const Error& error) {
      // Complete, but not as it was: somebody may want to look at it.
      if (error.code() != Code::Conflict) throw;
      throw Error(Code::Damaged, error.what(),
                  fmt::format("{}; the target was not touched; what was restored is kept: {}", error.hint(),
                              keep("_unverified_")));
    }
    proveLanded(scratch.target(), [&] { return keep("_unverified_"); });
    try {
      site.swap({landing, options_.to ? landing : live, kept}, properties, PostgresSite::Swap::Real);
    } catch (const Error& error) {
      throw Error(error.code(), error.what(),
                  fmt::format("{}; what was restored is kept as {}", error.hint(), keep("_restored_")));
    }
    scratch.keep();
    report_.landed = options_.to ? landing : live;
    report_.kept = kept;
  }

  void planPostgres(const PostgresSite& site, const std::string& landing, const std::string& kept,
                    const std::optional<DatabaseProperties>& properties) {
    const auto& live = site.live();
    const auto& record = *entry_.manifest->file(content::kDatabase);
    say(fmt::format("create database {} beside {} and load {} ({}) into it", landing, live, record.path,
                    humanBytes(record.plain_size)));
    say(fmt::format("compare counts and digests of {}", counted(entry_.manifest->tables.size(), "table")));
    if (properties)
      say(fmt::format("give it {} that the database had: owner, privileges, settings (tried)",
                      counted(properties->properties.size(), "property")));
    if (options_.to) return;
    say(kept.empty() ? fmt::format("rename {} to {}", landing, live)
                     : fmt::format("rename {} to {} and {} to {} (tried)", live, kept, landing, live));
    for (const auto& slot : site.slots()) say(fmt::format("leave replication slot {} to {}", slot, kept));
  }

  const Entry& entry_;
  const RestoreOptions& options_;
  RestoreReport report_;
  std::vector<Increment> increments_;
};
}  // namespace

RestoreReport restoreBackup(const Entry& entry, const RestoreOptions& options) { return Run(entry, options).restore(); }

}  // namespace aragora::backup
