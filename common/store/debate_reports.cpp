#include "common/store/debate_reports.h"

#include "common/base/text.h"
#include "common/store/debate_row.h"

namespace aragora::store {

using database::Connection;
using database::Engine;

namespace {
// As it stands: what LIKE takes for a sign is a letter here.
std::string patternOf(std::string_view words) {
  std::string pattern = "%";
  for (const char c : words) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern + '%';
}

std::vector<Debate> debatesOf(const database::Rows& rows) {
  std::vector<Debate> debates;
  for (const auto& row : rows) debates.push_back(toDebate(row));
  return debates;
}
}  // namespace

Found searchDebates(database::Database& database, std::string_view words, std::int64_t limit, std::int64_t offset) {
  const auto pattern = patternOf(words);
  return database.reading([&](Connection& connection) {
    const std::string_view like = connection.engine() == Engine::Postgres ? "ILIKE" : "LIKE";
    const auto where = fmt::format("WHERE (d.task {0} $1 ESCAPE '\\' OR d.final_answer {0} $1 ESCAPE '\\')", like);
    Found found;
    found.total = connection.query("SELECT count(*) FROM debates d " + where, {pattern})[0].integer(0);
    if (offset < found.total)
      found.debates = debatesOf(
          connection.query(fmt::format("SELECT {} FROM debates d {} ORDER BY d.created_at DESC, d.id DESC LIMIT $2 "
                                       "OFFSET $3",
                                       kDebateColumns, where),
                           {pattern, limit, offset}));
    return found;
  });
}

std::map<DebateStatus, std::int64_t> countOpenDebates(database::Database& database) {
  std::map<DebateStatus, std::int64_t> counts;
  for (const auto& row : database.query(fmt::format(
           "SELECT status, count(*) FROM debates WHERE status IN ({}) GROUP BY status", openStatusesInSql())))
    if (const auto status = parseDebateStatus(row.text(0))) counts[*status] = row.integer(1);
  return counts;
}

namespace {
DebateCounts countIn(Connection& connection) {
  DebateCounts counts;
  for (const auto& row : connection.query("SELECT status, count(*) FROM debates GROUP BY status"))
    if (const auto status = parseDebateStatus(row.text(0))) counts.by_status[*status] = row.integer(1);
  const auto row = connection.query(
      fmt::format("SELECT count(*), coalesce(sum(CASE WHEN consensus_reached = 1 THEN 1 ELSE 0 END), 0), "
                  "coalesce(avg(CASE WHEN consensus_reached = 1 THEN confidence END), 0), "
                  "coalesce(avg(rounds_used * 1.0), 0), coalesce(avg((completed_at - started_at) / 1000000.0), 0) FROM "
                  "debates WHERE status = '{}'",
                  name(DebateStatus::Completed)))[0];
  counts.decided = row.integer(0);
  counts.consensus_reached = row.integer(1);
  counts.mean_confidence = row.number(2);
  counts.mean_rounds = row.number(3);
  counts.mean_seconds = row.number(4);
  return counts;
}
}  // namespace

DebateCounts countDebates(database::Database& database) { return database.reading(countIn); }

std::vector<Debate> disagreements(database::Database& database, std::int64_t limit) {
  return database.reading([&](Connection& connection) {
    const std::string_view dissenting = connection.engine() == Engine::Postgres
                                            ? "json_array_length(d.consensus::json -> 'dissenting_agents')"
                                            : "json_array_length(d.consensus, '$.dissenting_agents')";
    return debatesOf(connection.query(
        fmt::format("SELECT {} FROM debates d WHERE d.status = '{}' AND d.consensus IS NOT NULL AND "
                    "(d.consensus_reached = 0 OR {} > 0) ORDER BY d.created_at DESC, d.id DESC LIMIT $1",
                    kDebateColumns, name(DebateStatus::Completed), dissenting),
        {limit}));
  });
}

}  // namespace aragora::store
