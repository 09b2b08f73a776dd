#include "common/backup/told_heads.h"

#include <unistd.h>

#include "common/backup/repository.h"
#include "common/backup/signed_record.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

namespace {
constexpr auto kAskTime = std::chrono::milliseconds(2000);

// Places have no name of their own that would survive somebody who takes everything away.
std::string settingOf(const storage::Place& place, Kind kind) {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  std::error_code ignored;
  const auto path = fs::weakly_canonical(place.path(), ignored).string();
  return fmt::format("backup.head.{}.{}", name(kind),
                     crypto::sha256Hex(fmt::format("{}:{}", host, path)).substr(0, 16));
}

fs::path besideDatabase(const database::Target& target) {
  std::error_code ignored;
  const auto real = fs::weakly_canonical(target.path, ignored);
  return real.parent_path() / ("." + real.filename().string() + ".backups");
}

json::object knownBeside(const database::Target& target, const crypto::Keyring& keyring) {
  const auto path = besideDatabase(target);
  return readSignedRecord(path.parent_path(), path.filename().string(), keyring).value_or(json::object());
}

std::string notKnown(const Error& error) {
  return fmt::format("what the database was told of the newest backups is not known: {}", error.what());
}

std::optional<Head> headOf(const json::object& object) {
  Head head{jsonTextOr(object, "id", ""), jsonIntegerOr(object, "sequence", 0)};
  return head.id.empty() ? std::nullopt : std::optional(head);
}

// What does not hold is the failure; the other kinds are known all the same.
template <typename Read>
ToldHeads headsOfAllKinds(const storage::Place& place, Read&& read) {
  ToldHeads told;
  for (const auto kind : allKinds()) {
    try {
      if (const auto head = read(settingOf(place, kind))) told.heads[kind] = *head;
    } catch (const Error& error) {
      told.failure = notKnown(error);
    }
  }
  return told;
}

database::Target forAQuestion(database::Target target) {
  target.connect_timeout = std::min(target.connect_timeout, kAskTime);
  target.statement_timeout = kAskTime;
  return target;
}
}  // namespace

std::optional<Head> ToldHeads::of(Kind kind) const {
  const auto found = heads.find(kind);
  return found == heads.end() ? std::nullopt : std::optional(found->second);
}

ToldHeads toldHeads(database::Connection& connection, const storage::Place& place, const crypto::Keyring& keyring) {
  if (!place.isLocal()) return {};
  try {
    if (connection.query("SELECT to_regclass('settings') IS NOT NULL", {})[0].text(0) != "t") return {};
    std::map<std::string, std::string> settings;
    for (const auto& row :
         connection.query("SELECT name, value FROM settings WHERE starts_with(name, 'backup.head.')", {}))
      settings[row.text(0)] = row.text(1);
    return headsOfAllKinds(place, [&](const std::string& name) -> std::optional<Head> {
      const auto found = settings.find(name);
      if (found == settings.end()) return std::nullopt;
      const auto record = parseSignedRecord(found->second, "settings: " + name, keyring);
      return jsonTextOr(record, "setting", "") == name ? headOf(record) : std::nullopt;
    });
  } catch (const Error& error) {
    interrupt::check();
    return {{}, notKnown(error)};
  }
}

ToldHeads toldHeads(const database::Target& target, const storage::Place& place, const crypto::Keyring& keyring) {
  if (!place.isLocal()) return {};
  try {
    if (target.engine == database::Engine::Sqlite) {
      const auto known = knownBeside(target, keyring);
      return headsOfAllKinds(place, [&](const std::string& name) {
        const auto* told = jsonObject(known, name);
        return told != nullptr ? headOf(*told) : std::nullopt;
      });
    }
    const auto deadline = deadlineIn(kAskTime);
    database::postgres::PostgresConnection connection(forAQuestion(target));
    connection.endBy(deadline);
    return toldHeads(connection, place, keyring);
  } catch (const Error& error) {
    interrupt::check();
    return {{}, notKnown(error)};
  }
}

void tellHead(const database::Target& target, const storage::Place& place, Kind kind, const Head& head,
              const crypto::Keyring& keyring) {
  const auto name = settingOf(place, kind);
  try {
    if (target.engine == database::Engine::Sqlite) {
      json::object known;
      try {
        known = knownBeside(target, keyring);
      } catch (const Error& error) {
        if (error.code() != Code::Damaged) throw;
        log::warning("{}; it is written anew", error.what());
      }
      known[name] = json::object{{"id", head.id}, {"sequence", head.sequence}};
      return writeFileAtomically(besideDatabase(target), signedRecord(known, keyring), 0640);
    }
    const auto text = signedRecord({{"setting", name}, {"id", head.id}, {"sequence", head.sequence}}, keyring);
    database::connect(forAQuestion(target))
        ->query(
            "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET "
            "value = excluded.value, updated_at = excluded.updated_at",
            {name, text, nowMicros()});
  } catch (const Error& error) {  // a standby, a role that only reads
    log::info("the database could not be told of backup {}: {}", head.id, error.what());
  }
}

namespace {
// The records, by the name of their setting; beside an embedded database there is one.
std::map<std::string, std::string> toldRecords(const database::Target& target) {
  if (target.engine == database::Engine::Sqlite) {
    const auto text = readFileIfExists(besideDatabase(target));
    return text ? std::map<std::string, std::string>{{"", *text}} : std::map<std::string, std::string>();
  }
  std::map<std::string, std::string> records;
  for (const auto& row :
       database::connect(target)->query("SELECT name, value FROM settings WHERE starts_with(name, 'backup.head.')", {}))
    records[row.text(0)] = row.text(1);
  return records;
}
}  // namespace

std::size_t signToldAnew(const database::Target& target, const crypto::Keyring& keyring) {
  std::size_t count = 0;
  for (const auto& [name, text] : toldRecords(target)) {
    const auto signer = signerOf(text, keyring);
    if (!signer || *signer == keyring.activeId()) continue;
    const auto record = signedRecord(parseSignedRecord(text, name, keyring), keyring);
    if (name.empty())
      writeFileAtomically(besideDatabase(target), record, 0640);
    else
      database::connect(target)->query("UPDATE settings SET value = $1 WHERE name = $2 AND value = $3",
                                       {record, name, text});
    ++count;
  }
  return count;
}

std::map<std::string, std::int64_t> toldBy(const database::Target& target, const crypto::Keyring& keyring) {
  std::map<std::string, std::int64_t> by;
  for (const auto& [name, text] : toldRecords(target)) ++by[signerOf(text, keyring).value_or("?")];
  return by;
}

}  // namespace aragora::backup
