#include "common/backup/database_properties.h"

#include "common/backup/artifact.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

using database::Connection;
using database::quoteIdentifier;

namespace {
// Through JSON, as columns came and went: datlocprovider and daticulocale in 15, daticurules in 16, datlocale in 17.
constexpr std::string_view kCreate = R"(
SELECT format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(d.encoding), d.datcollate, d.datctype)
  || CASE j ->> 'datlocprovider' WHEN 'c' THEN ' LOCALE_PROVIDER libc'
     WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', coalesce(j ->> 'datlocale', j ->> 'daticulocale'))
     WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', j ->> 'datlocale') ELSE '' END
  || coalesce(' ICU_RULES ' || quote_literal(j ->> 'daticurules'), '')
FROM pg_database d, to_jsonb(d) j WHERE d.datname = $1)";

// What may be granted on comes last: from then on the restoring role would be the one that grants, not the owner.
// Lists such as search_path are kept quoted, element by element; they are written as literals, as '' is an element too.
constexpr std::string_view kProperties = R"(
WITH d AS (SELECT * FROM pg_database WHERE datname = $1),
settings AS (
  SELECT r.rolname, split_part(c, '=', 1) AS name, substr(c, strpos(c, '=') + 1) AS value
  FROM d JOIN pg_db_role_setting s ON s.setdatabase = d.oid LEFT JOIN pg_roles r ON r.oid = s.setrole,
  unnest(s.setconfig) c)
SELECT 1 AS place, 'setting ' || name || coalesce(' of role ' || rolname, ''),
  coalesce('ALTER ROLE ' || quote_ident(rolname) || ' IN DATABASE ', 'ALTER DATABASE '),
  format(' SET %s TO %s', CASE WHEN strpos(name, '.') > 0 THEN name ELSE quote_ident(name) END,
    CASE WHEN name IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries') THEN
      coalesce((SELECT string_agg(quote_literal(CASE WHEN m[1] LIKE '"%' THEN
        replace(substr(m[1], 2, length(m[1]) - 2), '""', '"') ELSE m[1] END), ', ' ORDER BY nr)
        FROM regexp_matches(value, '("(?:[^"]|"")*"|[^,\s"]+)', 'g') WITH ORDINALITY AS x(m, nr)), '''''')
    ELSE quote_literal(value) END)
FROM settings
UNION ALL SELECT 2, 'comment', 'COMMENT ON DATABASE ', format(' IS %L', shobj_description(oid, 'pg_database'))
FROM d WHERE shobj_description(oid, 'pg_database') IS NOT NULL
UNION ALL SELECT 3, 'security label of ' || l.provider, format('SECURITY LABEL FOR %I ON DATABASE ', l.provider),
  format(' IS %L', l.label)
FROM d JOIN pg_shseclabel l ON l.classoid = 'pg_database'::regclass AND l.objoid = d.oid
UNION ALL SELECT 4, 'connection limit', 'ALTER DATABASE ', ' CONNECTION LIMIT ' || datconnlimit FROM d
UNION ALL SELECT 5, 'template', 'ALTER DATABASE ', ' IS_TEMPLATE ' || datistemplate FROM d WHERE datistemplate
UNION ALL SELECT 6, 'owner', 'ALTER DATABASE ', format(' OWNER TO %I', pg_get_userbyid(datdba)) FROM d
UNION ALL SELECT 7, 'privileges', 'REVOKE ALL ON DATABASE ', ' FROM PUBLIC' FROM d WHERE datacl IS NOT NULL
UNION ALL SELECT 7, 'privileges', 'REVOKE ALL ON DATABASE ', format(' FROM %I', pg_get_userbyid(datdba)) FROM d
WHERE datacl IS NOT NULL
UNION ALL SELECT CASE WHEN a.is_grantable THEN 9 ELSE 8 END, 'privileges of ' || coalesce(r.rolname, 'PUBLIC'), format('GRANT %s ON DATABASE ', a.privilege_type),
  ' TO ' || coalesce(quote_ident(r.rolname), 'PUBLIC') || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
ORDER BY 1, 2, 3, 4)";

constexpr std::string_view kRoles = R"(
SELECT DISTINCT r.rolname FROM pg_database d
JOIN pg_shdepend s ON s.dbid = d.oid OR (s.classid = 'pg_database'::regclass AND s.objid = d.oid)
JOIN pg_roles r ON s.refclassid = 'pg_authid'::regclass AND r.oid = s.refobjid WHERE d.datname = $1
UNION SELECT r.rolname FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid
JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = $1)";

[[noreturn]] void damaged(const Entry& entry) {
  throw Error(Code::Damaged, fmt::format("backup {}: the properties of the database cannot be read", entry.id));
}
}  // namespace

DatabaseProperties readProperties(Connection& connection, const std::string& database) {
  DatabaseProperties found;
  found.create = connection.query(kCreate, {database}).at(0).text(0);
  for (const auto& row : connection.query(kRoles, {database})) found.roles.insert(row.text(0));
  for (const auto& row : connection.query(kProperties, {database}))
    found.properties.push_back({row.text(1), row.text(2), row.text(3)});
  return found;
}

std::string serialise(const DatabaseProperties& properties) {
  json::array list;
  for (const auto& one : properties.properties)
    list.push_back(json::object{{"what", one.what}, {"before", one.before}, {"after", one.after}});
  json::array roles;
  for (const auto& role : properties.roles) roles.push_back(json::string(role));
  return toPrettyJson(json::object{{"create", properties.create}, {"roles", roles}, {"properties", list}}) + "\n";
}

std::optional<DatabaseProperties> propertiesOf(const Entry& entry, const crypto::Keyring& keyring) {
  const auto* record = entry.manifest->file(content::kProperties);
  if (record == nullptr) return std::nullopt;
  std::string text;
  readArtifact(entry.directory, *record, keyring.backupIdentities(), [&](std::string_view bytes) { text += bytes; });
  const auto value = tryParseJson(text);
  const auto* object = value ? value->if_object() : nullptr;
  const auto* list = object != nullptr ? jsonArray(*object, "properties") : nullptr;
  const auto* roles = object != nullptr ? jsonArray(*object, "roles") : nullptr;
  if (list == nullptr || roles == nullptr) damaged(entry);
  DatabaseProperties found;
  found.create = jsonTextOr(*object, "create", "");
  for (const auto& role : *roles) {
    if (!role.is_string()) damaged(entry);
    found.roles.emplace(role.get_string());
  }
  for (const auto& element : *list) {
    const auto* one = element.if_object();
    if (one == nullptr) damaged(entry);
    found.properties.push_back(
        {jsonTextOr(*one, "what", ""), jsonTextOr(*one, "before", ""), jsonTextOr(*one, "after", "")});
  }
  return found;
}

void applyProperty(Connection& connection, const std::string& database, const DatabaseProperty& property) {
  try {
    connection.query(property.before + quoteIdentifier(database) + property.after, {});
  } catch (const Error& error) {
    const auto message = fmt::format("{} of the database cannot be restored: {}", property.what, error.what());
    if (error.code() == Code::Permission)
      throw Error(Code::Permission, message,
                  "restore as the role that made it, or as a superuser, or take it from the source and back up again");
    if (error.code() == Code::Internal) throw Error(Code::Damaged, message);
    throw;
  }
}

void requireProperties(Connection& connection, const std::string& database, const DatabaseProperties& expected) {
  const auto found = readProperties(connection, database);
  std::set<std::string> differs;
  const std::set<DatabaseProperty> wanted(expected.properties.begin(), expected.properties.end());
  const std::set<DatabaseProperty> has(found.properties.begin(), found.properties.end());
  for (const auto& one : wanted) {
    if (has.count(one) == 0) differs.insert(one.what);
  }
  for (const auto& one : has) {
    if (wanted.count(one) == 0) differs.insert(one.what);
  }
  if (found.create != expected.create) differs.insert("encoding and locale");
  if (differs.empty()) return;
  throw Error(Code::Damaged, fmt::format("of the database was not restored: {}",
                                         join(std::vector<std::string>(differs.begin(), differs.end()), ", ")));
}

void requireRoles(Connection& connection, const DatabaseProperties& properties) {
  std::vector<std::string> missing;
  std::vector<std::string> lines;
  for (const auto& role : properties.roles) {
    if (!connection.query("SELECT 1 FROM pg_roles WHERE rolname = $1", {role}).empty()) continue;
    missing.push_back(role);
    lines.push_back(fmt::format("CREATE ROLE {};", quoteIdentifier(role)));
  }
  if (missing.empty()) return;
  throw Error(Code::Config,
              fmt::format("the database names roles that this server does not have: {}", join(missing, ", ")),
              fmt::format("make them first, with what they may: {}", join(lines, " ")));
}

void pinSession(Connection& connection) {
  connection.executeScript(
      "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL IntervalStyle = 'postgres'; "
      "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL search_path = ''; "
      "SET LOCAL lc_monetary = 'C'; SET LOCAL lc_numeric = 'C'; SET LOCAL lc_time = 'C'; SET LOCAL xmlbinary = base64; "
      "SET LOCAL quote_all_identifiers = off; SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; "
      "SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0");
}

}  // namespace aragora::backup
