// What belongs to a PostgreSQL database and lies in none of its tables: owner, privileges, settings, connection limit,
// comment, encoding and locale. pg_dump keeps it in statements that name the old database and that only --create runs;
// here it is read and written by ourselves, for a database of any name. Kept as the statements that make it, sealed
// beside the dump (a setting may be a secret) with its digest in the signed manifest. One thread.
#pragma once

#include <compare>
#include <optional>
#include <set>
#include <string>

#include "common/backup/repository.h"
#include "common/database/connection.h"

namespace aragora::backup {

// The name of the database stands between the two halves of the statement.
struct DatabaseProperty {
  std::string what;  // "setting search_path": for people, without values
  std::string before;
  std::string after;
  auto operator<=>(const DatabaseProperty&) const = default;
  bool isSetting() const { return what.rfind("setting ", 0) == 0; }
};

struct DatabaseProperties {
  std::string create;                        // what CREATE DATABASE says about encoding and locale
  std::set<std::string> roles;               // whoever owns something in it or was granted something
  std::vector<DatabaseProperty> properties;  // in the order in which they are made
};

DatabaseProperties readProperties(database::Connection& connection, const std::string& database);
std::string serialise(const DatabaseProperties& properties);
// Of a backup; nullopt for one that an earlier version made. Error(Damaged).
std::optional<DatabaseProperties> propertiesOf(const Entry& entry, const crypto::Keyring& keyring);

// Gives `database` one property. Error(Permission) with the line that somebody who may can type, else Error(Damaged).
void applyProperty(database::Connection& connection, const std::string& database, const DatabaseProperty& property);
// That `database` has exactly these: otherwise Error(Damaged) naming what differs.
void requireProperties(database::Connection& connection, const std::string& database,
                       const DatabaseProperties& expected);
// Roles that are named and that the server does not have: Error(Config) with the lines to type.
void requireRoles(database::Connection& connection, const DatabaseProperties& properties);

// What a table's text looks like depends on settings of the session (TimeZone, DateStyle, bytea_output…), and so would
// its digest. Inside a transaction, for its rest.
void pinSession(database::Connection& connection);

}  // namespace aragora::backup
