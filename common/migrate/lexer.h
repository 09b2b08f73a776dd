// Splits SQL into statements as PostgreSQL and SQLite read it: quotes, E'' strings, dollar quotes, nested comments and
// CREATE TRIGGER … END bodies. Refuses what does not belong in a migration: psql meta-commands, COPY FROM stdin, and
// transaction control (the runner owns the transaction).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace aragora::migrate {

struct Statement {
  std::string text;  // without the final semicolon, leading comments kept out
  int line = 0;      // where its first word stands
};

// Throws Error(Damaged) naming `name` and the line.
std::vector<Statement> splitStatements(std::string_view sql, std::string_view name);

// LF line ends, no byte order mark, no trailing blanks, one final newline: what a checksum is taken of.
std::string normalise(std::string_view sql);

}  // namespace aragora::migrate
