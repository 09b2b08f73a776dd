// The way back: Migrator::down, with the SQL that was stored when a migration was applied.
#include <regex>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/migrate/migrator.h"
#include "common/migrate/run_lock.h"
#include "common/migrate/table_locks.h"

namespace aragora::migrate {

using database::Connection;
using database::Engine;
using database::Transaction;

void Migrator::refuseDataLoss(Connection& connection, const Applied& applied) {
  static const std::regex kDrop(R"(^DROP\s+TABLE\s+(IF\s+EXISTS\s+)?("?[A-Za-z0-9_]+"?))", std::regex::icase);
  for (const auto& statement : splitStatements(applied.down, applied.name)) {
    std::smatch match;
    if (!std::regex_search(statement.text, match, kDrop)) continue;
    if (!connection.query(fmt::format("SELECT 1 FROM {} LIMIT 1", match[2].str()), {}).empty()) {
      throw Error(
          Code::Conflict,
          fmt::format("undoing {} would delete the rows of table {}; nothing was undone", applied.name, match[2].str()),
          "back up first, then repeat with --allow-data-loss");
    }
  }
}

std::vector<Applied> Migrator::down(const DownOptions& options) {
  const auto connection = connectForWork();
  RunLock lock(target_, options_.lock_wait, [this](const std::string& message) { say(message); });
  std::vector<Applied> undone;
  while (true) {
    const auto status = read(*connection);
    const auto& pending = status.pending;
    if (!pending.empty() && history::find(*connection, pending.front().version))
      throw Error(Code::Conflict, fmt::format("migration {} is half applied", pending.front().name),
                  "finish it first with: aragora migrate up");
    std::vector<Applied> above;
    for (const auto& applied : status.applied) {
      if (applied.version > options.to) above.push_back(applied);
    }
    if (options.dry_run) {
      std::reverse(above.begin(), above.end());
      return above;
    }
    if (above.empty()) return undone;
    const auto& last = above.back();
    if (last.down.empty())
      throw Error(Code::Conflict, fmt::format("migration {} has no way back", last.name),
                  "restore a backup made before it");
    if (!options.allow_data_loss && undone.empty()) {
      for (const auto& applied : above) refuseDataLoss(*connection, applied);
    }
    const auto statements = splitStatements(last.down, last.name);
    const auto what = fmt::format("undoing {:04}_{}", last.version, last.name);
    say(what);
    begin(options_.progress, {.what = what, .total = statements.size(), .noun = "statement", .even = false});
    const bool transactional = last.down.find("-- aragora: no-transaction") == std::string::npos;
    const Migration named{last.version, last.name, {}, last.down, transactional, {}};
    withLockRetries(named, [&] {
      std::optional<Transaction> transaction;
      if (transactional)
        transaction.emplace(*connection, target_.engine == Engine::Sqlite ? "BEGIN IMMEDIATE" : "BEGIN");
      if (transactional && target_.engine == Engine::Postgres) {
        connection->executeScript(fmt::format("SET LOCAL lock_timeout = {}", options_.lock_timeout.count()));
        if (const auto first = lockFirst(statements); !first.empty()) connection->executeScript(first);
      }
      for (std::size_t i = 0; i < statements.size(); ++i) {
        connection->executeScript(statements[i].text, true);
        if (options_.progress != nullptr) options_.progress->reach(i + 1);
      }
      history::remove(*connection, last.version);
      if (transaction) transaction->commit();
    });
    undone.push_back(last);
  }
}

}  // namespace aragora::migrate
