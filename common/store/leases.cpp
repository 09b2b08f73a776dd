#include "common/store/leases.h"

#include "common/base/text.h"
#include "common/store/id_list.h"
#include "common/store/states.h"

namespace aragora::store {

using database::Connection;
using database::Engine;

namespace {
// Microseconds since the epoch by the database's own clock.
std::string_view now(const Connection& connection) {
  return connection.engine() == Engine::Postgres
             ? std::string_view("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
             : std::string_view("CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)");
}

std::int64_t micros(std::chrono::milliseconds span) { return std::chrono::microseconds(span).count(); }

// Costs what there are owners, running debates and `limit`, not what there are debates: each owner's oldest are found
// by the index `debates_open`, and the owners themselves by hopping from one to the next in it. An owner's next debate
// stands behind as many as the owner has running.
std::string waitingSql(const Connection& connection) {
  const std::string_view owner = "coalesce(owner_id, '')";
  const auto open = fmt::format("status IN ({})", openStatusesInSql());
  const auto oldest = fmt::format(
      "SELECT id, created_at FROM debates WHERE {} = owners.owner AND {} AND (status <> 'paused' OR pause_requested = "
      "0 "
      "OR cancel_requested = 1) AND NOT EXISTS (SELECT 1 FROM debate_leases l "
      "WHERE l.debate_id = debates.id AND (l.expires_at >= {} OR l.not_before > {})) ORDER BY created_at, id LIMIT $1",
      owner, open, now(connection), now(connection));
  const auto waiting = connection.engine() == Engine::Postgres
                           ? fmt::format("CROSS JOIN LATERAL ({}) d", oldest)
                           : fmt::format("JOIN debates d ON d.id IN (SELECT id FROM ({}))", oldest);
  return fmt::format(
      "WITH RECURSIVE owners(owner) AS (SELECT min({0}) FROM debates WHERE {1} UNION ALL SELECT (SELECT min({0}) FROM "
      "debates WHERE {1} AND {0} > owners.owner) FROM owners WHERE owner IS NOT NULL), running AS (SELECT {0} AS "
      "owner, "
      "count(*) AS debates FROM debate_leases l JOIN debates ON debates.id = l.debate_id WHERE l.expires_at > 0 AND "
      "l.expires_at >= {2} GROUP BY 1) SELECT id FROM (SELECT d.id, d.created_at, coalesce(running.debates, 0) + "
      "row_number() OVER (PARTITION BY owners.owner ORDER BY d.created_at, d.id) AS place FROM owners {3} LEFT JOIN "
      "running ON running.owner = owners.owner WHERE owners.owner IS NOT NULL) numbered ORDER BY place, created_at, id "
      "LIMIT $1",
      owner, open, now(connection), waiting);
}
}  // namespace

Error leaseLost(const Lease& lease) {
  return {Code::Conflict, fmt::format("the lease on debate {} went to another instance", lease.debate_id)};
}

void requireHeld(Connection& connection, const Lease& lease) {
  // The debate's row too: whoever adds to its chain without the lease locks that.
  const auto held = connection.query(
      fmt::format("SELECT l.epoch FROM debate_leases l JOIN debates d ON d.id = l.debate_id WHERE l.debate_id = $1 AND "
                  "l.instance = $2{}",
                  connection.engine() == Engine::Postgres ? " FOR UPDATE" : ""),  // SQLite has one writer
      {lease.debate_id, lease.instance});
  if (held.empty() || held[0].integer(0) != lease.epoch) throw leaseLost(lease);
}

std::optional<Lease> Leases::acquire(const std::string& debate_id, std::chrono::milliseconds duration) {
  return database_.writing([&](Connection& connection) -> std::optional<Lease> {
    const auto rows = connection.query(
        fmt::format(
            "INSERT INTO debate_leases (debate_id, instance, epoch, expires_at) SELECT id, $2, 1, {0} + $3 FROM "
            "debates WHERE id = $1{1} "
            "ON CONFLICT (debate_id) DO UPDATE SET instance = excluded.instance, epoch = debate_leases.epoch + "
            "1, expires_at = excluded.expires_at WHERE (debate_leases.expires_at < {0} OR "
            "debate_leases.instance = excluded.instance) AND debate_leases.not_before <= {0} "
            "RETURNING epoch, failures",
            now(connection), connection.engine() == Engine::Postgres ? " FOR KEY SHARE" : ""),
        {debate_id, instance_, micros(duration)});
    if (rows.empty()) return std::nullopt;
    return Lease{debate_id, instance_, rows[0].integer(0), rows[0].integer(1)};
  });
}

void Leases::release(const Lease& lease) {
  database_.write([&](Connection& connection) {
    connection.query("UPDATE debate_leases SET expires_at = 0 WHERE debate_id = $1 AND instance = $2 AND epoch = $3",
                     {lease.debate_id, lease.instance, lease.epoch});
  });
}

void Leases::releaseAll() {
  database_.write([&](Connection& connection) {
    connection.query("UPDATE debate_leases SET expires_at = 0 WHERE instance = $1 AND expires_at > 0", {instance_});
  });
}

void Leases::releaseEverybodys() {
  database_.write([](Connection& connection) {
    connection.query("UPDATE debate_leases SET expires_at = 0 WHERE expires_at > 0", {});
  });
}

void Leases::releaseAfterFailure(const Lease& lease, std::chrono::milliseconds pause) {
  database_.write([&](Connection& connection) {
    connection.query(fmt::format("UPDATE debate_leases SET expires_at = 0, failures = failures + 1, not_before = {} + "
                                 "$4 WHERE debate_id = $1 AND instance = $2 AND epoch = $3",
                                 now(connection)),
                     {lease.debate_id, lease.instance, lease.epoch, micros(pause)});
  });
}

void Leases::releaseFor(const Lease& lease, std::chrono::milliseconds pause) {
  database_.write([&](Connection& connection) {
    connection.query(fmt::format("UPDATE debate_leases SET expires_at = 0, not_before = {} + $4 WHERE debate_id = $1 "
                                 "AND instance = $2 AND epoch = $3",
                                 now(connection)),
                     {lease.debate_id, lease.instance, lease.epoch, micros(pause)});
  });
}

std::vector<Leases::Renewed> Leases::renew(const std::vector<std::string>& debates,
                                           std::chrono::milliseconds duration) {
  return database_.writing([&](Connection& connection) {
    std::vector<Renewed> renewed;
    for (const auto& row : connection.query(
             fmt::format("UPDATE debate_leases SET expires_at = {} + $2 WHERE instance = $1 AND expires_at > 0 AND "
                         "debate_id IN ({}) "
                         "RETURNING debate_id, epoch, (SELECT d.cancel_requested + 2 * d.pause_requested "
                         "FROM debates d WHERE d.id = debate_leases.debate_id)",
                         now(connection), listedIn(connection.engine(), "$3")),
             {instance_, micros(duration), join(debates, ",")})) {
      const auto asked = row.integer(2);
      renewed.push_back({row.text(0), row.integer(1), asked % 2 == 1, asked >= 2});
    }
    return renewed;
  });
}

std::vector<std::string> Leases::waiting(std::int64_t limit) {
  return database_.reading([&](Connection& connection) {
    // The planner takes it for dear, since it cannot know how few owners there are: compiling it takes ten times as
    // long.
    if (connection.engine() == Engine::Postgres) connection.later({"SET LOCAL jit = off", {}});
    std::vector<std::string> ids;
    for (const auto& row : connection.query(waitingSql(connection), {limit})) ids.push_back(row.text(0));
    return ids;
  });
}

}  // namespace aragora::store
