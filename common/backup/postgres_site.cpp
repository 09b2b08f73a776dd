#include "common/backup/postgres_site.h"

#include <thread>

#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

namespace {
constexpr std::chrono::seconds kSessionsEnd{5};
constexpr std::size_t kNameLimit = 63;  // NAMEDATALEN - 1: PostgreSQL cuts off what is longer
}  // namespace

PostgresSite::PostgresSite(const database::Target& target) {
  const auto parts = database::postgres::parseUrl(target.url);
  const auto named = parts.find("dbname");
  if (named == parts.end()) throw Error(Code::Config, "DATABASE_URL names no database", "add /NAME to it");
  live_ = named->second;
  auto admin = database::postgres::maintenance(target);
  admin.application_name = "aragora restore";
  admin_ = database::connect(admin);
  inside_ = admin_->query("SELECT current_database()", {})[0].text(0) == live_;
}

bool PostgresSite::taken(const std::string& name) const {
  return !admin_->query("SELECT 1 FROM pg_database WHERE datname = $1", {name}).empty();
}

bool PostgresSite::exists() const { return taken(live_); }

std::string PostgresSite::freeName(const std::string& what) const {
  const auto end = what + lower(toCompactIso(nowMicros()));
  for (int i = 1;; ++i) {
    const auto tail = i == 1 ? end : fmt::format("{}_{}", end, i);
    auto length = std::min(live_.size(), kNameLimit - tail.size());
    while (length < live_.size() && length > 0 && (static_cast<unsigned char>(live_[length]) & 0xC0U) == 0x80U)
      --length;  // not within a character
    if (auto name = live_.substr(0, length) + tail; !taken(name)) return name;
  }
}

std::vector<std::string> PostgresSite::slots() const {
  std::vector<std::string> names;
  for (const auto& row : admin_->query("SELECT slot_name FROM pg_replication_slots WHERE database = $1", {live_}))
    names.push_back(row.text(0));
  return names;
}

void PostgresSite::requireRoles(const DatabaseProperties& properties) const {
  backup::requireRoles(*admin_, properties);
}

void PostgresSite::requireRoom(const std::string& name, std::uint64_t bytes) const {
  const auto may = admin_->query(
      "SELECT pg_is_in_recovery(), rolsuper OR rolcreatedb, rolname FROM pg_roles WHERE rolname = current_user", {})[0];
  if (may.text(0) == "t")
    throw Error(Code::Config, "the server is a standby: nothing can be restored into it",
                "point DATABASE_URL at the primary");
  if (may.text(1) != "t")
    throw Error(Code::Permission, fmt::format("the role {} may not create databases", may.text(2)),
                fmt::format("ALTER ROLE {} CREATEDB", database::quoteIdentifier(may.text(2))));
  if (name.size() > kNameLimit)
    throw Error(Code::Usage, fmt::format("{} is longer than the {} bytes of a name in PostgreSQL", name, kNameLimit),
                "choose a shorter one");
  if (taken(name))
    throw Error(Code::CannotCreate, fmt::format("database {} exists already", name),
                "name one that does not exist, or drop it");
  // Only over its socket is the server surely on this machine; who may not see the setting gets no row.
  const auto local =
      admin_->query("SELECT setting FROM pg_settings WHERE name = 'data_directory' AND inet_server_addr() IS NULL", {});
  if (!local.empty() && !local[0].text(0).empty()) requireFreeSpace(local[0].text(0), bytes);
}

void PostgresSite::requireReplaceable() const {
  const auto owner = admin_->query(
      "SELECT pg_has_role(datdba, 'USAGE'), pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", {live_});
  if (owner.empty()) return;
  if (owner[0].text(0) != "t")
    throw Error(Code::Permission,
                fmt::format("database {} belongs to {}: it may not be renamed", live_, owner[0].text(1)),
                "restore as its owner, or with --to NAME");
  if (inside_) {
    const auto role = admin_->query("SELECT current_user", {})[0].text(0);
    throw Error(Code::Permission,
                fmt::format("the role {} may connect to no other database than {}, which cannot be renamed from inside",
                            role, live_),
                fmt::format("GRANT CONNECT ON DATABASE postgres TO {}", database::quoteIdentifier(role)));
  }
  for (const auto& row : admin_->query("SELECT gid FROM pg_prepared_xacts WHERE database = $1 LIMIT 1", {live_}))
    throw Error(Code::Busy, fmt::format("database {} has the prepared transaction {}", live_, row.text(0)),
                "end it inside the database: COMMIT PREPARED or ROLLBACK PREPARED");
  for (const auto& row :
       admin_->query("SELECT slot_name FROM pg_replication_slots WHERE database = $1 AND active LIMIT 1", {live_}))
    throw Error(Code::Busy, fmt::format("somebody follows database {} over replication slot {}", live_, row.text(0)),
                "stop the subscriber first: ALTER SUBSCRIPTION … DISABLE");
  requireUnused();
}

// The server goes on listing a session for a moment after its client has closed it.
void PostgresSite::requireUnused() const {
  const auto deadline = deadlineIn(kSessionsEnd);
  while (true) {
    const auto sessions = admin_->query(
        "SELECT pid, application_name FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' AND "
        "pid <> pg_backend_pid()",
        {live_});
    if (sessions.empty()) return;
    if (remaining(deadline).count() == 0)
      throw Error(Code::Busy,
                  fmt::format("{} {} database {} (backend {}, {})", counted(sessions.size(), "session"),
                              agreeing(sessions.size(), "uses", "use"), live_, sessions[0].text(0),
                              printable(sessions[0].text(1), 60)),
                  "stop the daemon first: systemctl stop aragora.socket aragora; or restore with --to NAME");
    interrupt::check();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void PostgresSite::rename(const std::string& from, const std::string& to) const {
  using database::quoteIdentifier;
  admin_->query(fmt::format("ALTER DATABASE {} RENAME TO {}", quoteIdentifier(from), quoteIdentifier(to)), {});
}

void PostgresSite::swap(const Names& names, const std::optional<DatabaseProperties>& properties, Swap how) const {
  const bool renames = names.final != names.landing;
  if (renames) requireReplaceable();
  database::Transaction transaction(*admin_);
  if (properties) {
    for (const auto& property : properties->properties) applyProperty(*admin_, names.landing, property);
    requireProperties(*admin_, names.landing, *properties);
  }
  if (renames && exists()) {
    if (names.kept.empty())
      throw Error(Code::Conflict, fmt::format("database {} was made by somebody while the backup was loaded", live_),
                  "drop or rename it");
    rename(live_, names.kept);
  }
  if (renames) rename(names.landing, names.final);
  if (how == Swap::Real) transaction.commit();
}

void requireFreeSpace(const std::filesystem::path& directory, std::uint64_t bytes) {
  std::error_code unknown;
  const auto space = std::filesystem::space(directory, unknown);
  if (unknown || space.available >= bytes) return;
  throw Error(Code::CannotCreate,
              fmt::format("{} has {} free, the restored data needs at least {}", directory.string(),
                          humanBytes(space.available), humanBytes(bytes)),
              "make room first: the old data is kept beside the new");
}

}  // namespace aragora::backup
