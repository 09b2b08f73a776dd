#include "common/drill/live_server.h"

#include "common/base/error.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::drill {

namespace {
constexpr auto kServerTime = std::chrono::milliseconds(2000);

ServerSide askOfTheLog(database::Connection& connection, const std::string& slot) {
  const auto row = connection.query(
      "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text, "
      "current_setting('wal_level'), restart_lsn::text, wal_status FROM (SELECT 1) AS always "
      "LEFT JOIN pg_replication_slots ON slot_name = $1",
      {slot})[0];
  ServerSide side;
  side.end = backup::parseLsn(row.text(0)).value_or(0);
  side.wal_level = row.text(1);
  side.has_slot = !row.isNull(3) || !row.isNull(2);
  if (!row.isNull(2)) side.kept_from = backup::parseLsn(row.text(2)).value_or(0);
  if (!row.isNull(3)) side.slot_state = backup::parseSlotState(row.text(3));
  return side;
}
}  // namespace

LiveAnswers askLive(const database::Target& live, const fs::path& backups, const std::string& slot,
                    const crypto::Keyring& keyring) {
  LiveAnswers answers;
  if (live.engine == database::Engine::Sqlite) {
    answers.told = backup::toldHeads(live, backups, keyring);
    return answers;
  }
  auto target = live;
  target.connect_timeout = target.statement_timeout = kServerTime;
  target.application_name = "aragora status";
  answers.server.emplace();
  try {
    const auto deadline = deadlineIn(kServerTime);
    database::postgres::PostgresConnection connection(target);
    connection.endBy(deadline);
    answers.told = backup::toldHeads(connection, backups, keyring);
    if (remaining(deadline).count() == 0)
      throw Error(Code::Unreachable, "its two seconds were over before it was asked");
    answers.server = askOfTheLog(connection, slot);
  } catch (const Error& error) {
    answers.server->failure = error.what();
    if (answers.told.heads.empty() && answers.told.failure.empty()) answers.told.failure = error.what();
  }
  return answers;
}

}  // namespace aragora::drill
