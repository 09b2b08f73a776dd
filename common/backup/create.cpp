#include "common/backup/create.h"

#include <set>

#include "common/backup/artifacts.h"
#include "common/backup/configuration.h"
#include "common/backup/ledger.h"
#include "common/backup/ownership.h"
#include "common/backup/physical/base_source.h"
#include "common/backup/physical/wal_archive.h"
#include "common/backup/sessions.h"
#include "common/backup/source.h"
#include "common/backup/verify_backup.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/config/catalogue.h"
#include "common/crypto/hash.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/migrate/migrator.h"
#include "common/store/key_use.h"
#include "common/store/settings.h"

namespace aragora::backup {

namespace {
// Beside a database: what is no secret.
std::string settingsText(const config::Config& config) {
  json::object settings;
  for (const auto& setting : config::catalogue()) {
    if (setting.secret || !config.isSet(setting.key)) continue;
    settings[setting.key] =
        json::object{{"value", config.text(setting.key)}, {"origin", config.origin(setting.key).text}};
  }
  return toPrettyJson(settings) + "\n";
}

std::string wholeConfiguration(const CreateOptions& options) {
  ARAGORA_CHECK(options.config != nullptr);
  return configurationText(*options.config, *options.keyring, options.target);
}

class Run {
 public:
  explicit Run(const CreateOptions& options)
      : options_(options), repository_(options.directory, options.keyring, options.kind) {}

  // Under the lock.
  Entry create() {
    repository_.removeLeftovers();
    describeInstance();
    begin();
    try {
      saveContent();
      writeManifest();
      proveStored();
      repository_.publish(temporary_, manifest_.id);
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(temporary_, ignored);
      throw;
    }
    recordMade(options_.directory, manifest_, before_, options_.target, *options_.keyring);
    return Repository::read(options_.directory / name(options_.kind) / manifest_.id);
  }

 private:
  // Which deployment this is: a repository holds the backups of one.
  void describeInstance() {
    const auto status = migrate::Migrator(options_.target).status();
    manifest_.migration_version = status.version();
    if (manifest_.migration_version < 2)
      throw Error(Code::Conflict, "the database has no schema yet: there is nothing to back up",
                  "run: aragora migrate");
    identify();
    noteAuditHead();
    claimPlace(options_.directory, manifest_.instance_id);
    before_ = repository_.list();
    for (const auto& entry : before_) {
      if (entry.manifest && entry.problem.empty()) {
        if (entry.manifest->instance_id != manifest_.instance_id) {
          throw Error(Code::Conflict,
                      fmt::format("{} holds the backups of another deployment ({})", options_.directory.string(),
                                  entry.manifest->instance_id),
                      "give each deployment a directory of its own");
        }
        manifest_.previous_sha256 = entry.manifest_sha256;
      }
    }
    manifest_.sequence = std::max(nextSequence(before_, nowMicros()), lastRecorded() + 1);
  }

  // Also when that one is gone. A record that cannot be read says nothing here; verify says that.
  std::int64_t lastRecorded() const {
    try {
      const auto ledger = readLedger(options_.directory, options_.kind, *options_.keyring);
      return ledger ? ledger->head.sequence : 0;
    } catch (const Error& error) {
      if (error.code() != Code::Damaged) throw;
      return 0;
    }
  }

  void identify() {
    const auto connection = database::connect(options_.target);
    try {
      database::Transaction transaction(
          *connection, options_.target.engine == database::Engine::Sqlite ? "BEGIN IMMEDIATE" : "BEGIN");
      manifest_.instance_id = store::settingOrInsert(*connection, store::kInstanceId, newUlid());
      store::requireSameKey(*connection, *options_.keyring);
      transaction.commit();
    } catch (const Error& error) {
      const bool standby = database::postgres::isReadOnly(error);
      if (!standby && error.code() != Code::Permission) throw;
      if (identifyReading()) return;
      if (standby)
        throw Error(Code::Config,
                    fmt::format("{} is a standby, and its deployment has no identity or key check yet",
                                database::describe(options_.target)),
                    "run once against the primary: aragora backup create; from then on the standby can be backed up");
      throw Error(
          Code::Permission,
          fmt::format("{}: this role may not write, and the deployment has no identity or key check yet",
                      database::describe(options_.target)),
          "run once as the role of the daemon: aragora backup create; from then on a role that may read is enough");
    }
  }

  void noteAuditHead() {
    const auto connection = database::connect(options_.target);
    manifest_.audit_head = audit::head(*connection);
    if (options_.kind == Kind::Full || options_.kind == Kind::Base) noteDataKeys(*connection);
  }

  void noteDataKeys(database::Connection& connection) {
    std::set<std::string> ids{options_.keyring->activeId()};
    try {
      for (const auto& [what, by_key] : store::keyUse(connection, *options_.keyring)) {
        for (const auto& [id, count] : by_key) ids.insert(id);
      }
    } catch (const Error& error) {  // an older schema lacks what is asked: then any of them may be needed
      if (error.code() == Code::Interrupted) throw;
      for (const auto& id : options_.keyring->ids()) ids.insert(id);
    }
    manifest_.data_keys.assign(ids.begin(), ids.end());
  }

  // Who may only read backs up all the same, once somebody who may write has been here.
  bool identifyReading() {
    const auto connection = database::connect(options_.target);
    const auto identity = store::readSetting(*connection, store::kInstanceId);
    const auto used = store::readSetting(*connection, store::kKeyCheck);
    if (!identity || !used) return false;
    manifest_.instance_id = *identity;
    if (*used == options_.keyring->checkValue()) return true;
    if (!options_.keyring->knows(*used)) return false;
    log::warning("the rotated encryption key is not noted in the database: nothing can be written there");
    return true;
  }

  void begin() {
    manifest_.kind = options_.kind;
    manifest_.started_at = nowMicros();
    manifest_.id = fmt::format("{}-{}", toCompactIso(manifest_.started_at), newUlid());
    manifest_.engine = options_.target.engine;
    manifest_.tool_version = kVersion;
    manifest_.key_id = options_.keyring->activeId();
    artifact_ = sealingOf(options_);
    for (const auto& recipient : artifact_.recipients)
      manifest_.recipients.push_back(crypto::formatAgeRecipient(recipient));
    temporary_ = repository_.beginTemporary(manifest_.id);
  }

  void saveContent() {
    if (options_.kind == Kind::Base) return saveCluster();
    if (options_.kind == Kind::Configuration) return saveFile(content::kConfiguration, wholeConfiguration(options_));
    if (options_.kind == Kind::Artifacts) return saveDebates();
    saveDatabase();
    if (options_.config != nullptr) saveFile(content::kConfiguration, settingsText(*options_.config));
    saveSessions();
  }

  // What was read goes on being compressed and written, at --max-rate if there is one.
  void finishDatabase(ArtifactWriter& writer) {
    aragora::begin(options_.progress, {"writing what is still in memory"});
    manifest_.files.push_back(writer.finish());
  }

  void saveDatabase() {
    const auto* file = options_.target.engine == database::Engine::Sqlite ? "db.sqlite.zst.age" : "db.dump.zst.age";
    ArtifactWriter writer(temporary_, file, content::kDatabase, artifact_);
    auto report = dumpDatabase(
        options_.target, [&](std::string_view block) { writer.write(block); }, options_.progress);
    finishDatabase(writer);
    manifest_.server_version = std::move(report.server_version);
    manifest_.tables = std::move(report.tables);
    if (!report.properties.empty()) saveFile(content::kProperties, report.properties);
  }

  void saveCluster() {
    if (options_.target.engine != database::Engine::Postgres)
      throw Error(Code::Usage, "--kind base copies a PostgreSQL cluster; the database is SQLite", "leave --kind out");
    // The digest of the whole would say nothing that PostgreSQL's digests of its files do not.
    auto artifact = artifact_;
    artifact.plain_digest = false;
    ArtifactWriter writer(temporary_, "base.tar.zst.age", content::kDatabase, artifact);
    const auto report = streamBase(
        options_.target, options_.max_rate, temporary_ / "cluster",
        [&](std::string_view block) { writer.write(block); }, options_.progress);
    finishDatabase(writer);
    manifest_.server_version = report.server_version;
    manifest_.physical = PhysicalRecord{report.system_identifier, report.wal.timeline, report.wal.start,
                                        report.wal.stop, report.stopped_at};
    // The log that belongs to it goes to the same place.
    WalArchive(options_.directory / "wal", *options_.keyring).claim(report.system_identifier, report.segment_size);
  }

  void saveFile(const std::string& content, const std::string& text) {
    ArtifactWriter writer(temporary_, content + ".json.zst.age", content, artifact_);
    writer.write(text);
    manifest_.files.push_back(writer.finish());
  }

  void saveDebates() {
    ArtifactWriter writer(temporary_, "debates.jsonl.zst.age", content::kArtifacts, artifact_);
    const auto counts = writeDebates(
        options_.target, [&](std::string_view line) { writer.write(line); }, options_.progress);
    manifest_.files.push_back(writer.finish());
    manifest_.tables = {{"debates", counts.debates, {}}, {"debate_events", counts.events, {}}};
  }

  void saveSessions() {
    if (options_.config == nullptr || !options_.config->isSet(config::key::kRedisUrl)) return;
    std::string lines;
    try {
      lines = dumpSessions(options_.config->secret(config::key::kRedisUrl));
    } catch (const Error& error) {
      // The database is worth saving without them; the manifest shows that they are not in it.
      log::warning("the backup is made without sessions: {}", error.what());
      return;
    }
    if (lines.empty()) return;
    ArtifactWriter writer(temporary_, "sessions.jsonl.zst.age", content::kSessions, artifact_);
    writer.write(lines);
    manifest_.files.push_back(writer.finish());
  }

  void writeManifest() {
    manifest_.finished_at = nowMicros();
    const auto text = serialise(manifest_);
    createFileExclusively(temporary_ / "manifest.json", text, 0640);
    createFileExclusively(temporary_ / "manifest.json.sig", toHex(options_.keyring->signManifest(text)) + "\n", 0640);
  }

  void proveStored() { checkStored(temporary_, manifest_, options_.progress); }

  const CreateOptions& options_;
  Repository repository_;
  Manifest manifest_;
  std::vector<Entry> before_;
  ArtifactOptions artifact_;
  fs::path temporary_;
};
}  // namespace

namespace {
// The first rungs of the ladder, every time: digests, and that what was written can be read and has its structure.
void proveContent(const Entry& entry, const CreateOptions& options) {
  const Repository repository(options.directory, options.keyring, options.kind);
  VerifyOptions how;
  how.level = options.keyring->opensBackups() ? 1 : 0;
  how.keyring = options.keyring;
  how.progress = options.progress;
  try {
    const auto report = verifyBackup(entry, how);
    for (const auto& line : report.warnings) log::warning("backup {}: {}", entry.id, line);
    repository.recordVerification(entry, {report.level, true, nowMicros(), report.message});
  } catch (const Error& error) {
    if (error.code() == Code::Damaged)
      repository.recordVerification(entry, {how.level, false, nowMicros(), error.what()});
    throw;
  }
}
}  // namespace

CreateOptions createOptions(const config::Config& config, const database::Target& target,
                            const crypto::Keyring& keyring) {
  CreateOptions options;
  options.directory = config.backupDirectory();
  options.target = target;
  options.keyring = &keyring;
  options.extra_recipients = config.list(config::key::kBackupRecipients);
  options.compression_level = static_cast<int>(config.integer(config::key::kBackupCompression));
  options.config = &config;
  return options;
}

ArtifactOptions sealingOf(const CreateOptions& options) {
  auto sealing = sealingFor(*options.keyring, options.extra_recipients, options.compression_level);
  sealing.max_rate = options.max_rate;
  return sealing;
}

Entry createBackup(const CreateOptions& options) {
  const auto lock = Repository(options.directory, options.keyring, options.kind).lock(options.lock_wait);
  return Run(options).create();
}

bool configurationChanged(const CreateOptions& options) {
  const auto digest = crypto::sha256Hex(wholeConfiguration(options));
  const auto entries =
      authentic(Repository(options.directory, options.keyring, Kind::Configuration).list(), *options.keyring);
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const auto* file = entry->good() ? entry->manifest->file(content::kConfiguration) : nullptr;
    if (file != nullptr) return file->plain_sha256 != digest || isOfTheFuture(*entry, nowMicros());
  }
  return true;
}

namespace {
bool isDue(const CreateOptions& how, const Rule& rule) {
  if (rule.kind == Kind::Base && WalArchive(how.directory / "wal", *how.keyring).segmentSize() == 0) return false;
  if (rule.every.count() == 0) return configurationChanged(how);
  const auto entries = Repository(how.directory, how.keyring, rule.kind).list();
  return nextDue(rule, authentic(entries, *how.keyring)) <= nowMicros();
}
}  // namespace

std::vector<Entry> createWhatIsDue(const CreateOptions& options, const Policy& policy) {
  std::vector<Entry> made;
  for (const auto& rule : policy) {
    auto how = options;
    how.kind = rule.kind;
    if (!isDue(how, rule)) continue;  // most runs end here, without waiting for others
    within(how.progress, name(how.kind));
    {
      const auto lock = Repository(how.directory, how.keyring, how.kind).lock(how.lock_wait);
      if (!isDue(how, rule)) continue;
      made.push_back(Run(how).create());
    }
    proveContent(made.back(), how);
  }
  return made;
}

}  // namespace aragora::backup
