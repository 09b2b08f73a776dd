#include "common/backup/artifacts.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/store/debate_row.h"
#include "common/store/event_chain.h"

namespace aragora::backup {

namespace {
constexpr int kPage = 100;  // debates of one query
constexpr std::size_t kLineLimit = 256U << 20;

json::array eventsOf(database::Connection& connection, const std::string& debate) {
  json::array events;
  for (const auto& row : connection.query(
           fmt::format("SELECT {} FROM debate_events WHERE debate_id = $1 ORDER BY seq", store::kChainedColumns),
           {debate})) {
    const auto event = store::toChained(row);
    events.push_back(json::object{{"seq", event.seq},
                                  {"type", event.type},
                                  {"round", event.round},
                                  {"agent", event.agent},
                                  {"at", event.at},
                                  {"payload", event.payload},
                                  {"prev_hash", event.prev_hash},
                                  {"key_id", event.key_id},
                                  {"hash", event.hash}});
  }
  return events;
}

json::object describe(const store::Debate& debate) {
  json::array agents;
  for (const auto& agent : debate.agents) agents.push_back(json::string(agent));
  return {{"id", debate.id},
          {"slug", debate.slug},
          {"task", debate.task},
          {"context", debate.context},
          {"status", store::name(debate.status)},
          {"agents", agents},
          {"rounds", debate.rounds},
          {"rounds_used", debate.rounds_used},
          {"consensus_kind", debate.consensus_kind},
          {"consensus_reached", debate.consensus_reached ? json::value(*debate.consensus_reached) : nullptr},
          {"confidence", debate.confidence},
          {"final_answer", debate.final_answer},
          {"consensus", debate.consensus},
          {"outcome", debate.outcome},
          {"error", debate.error},
          {"metadata", debate.metadata},
          {"seed", debate.seed},
          {"created_at", debate.created_at},
          {"started_at", debate.started_at ? json::value(*debate.started_at) : nullptr},
          {"completed_at", debate.completed_at ? json::value(*debate.completed_at) : nullptr}};
}

void checkLine(const std::string& line, store::ChainWalk& walk, ArtifactCounts& counts) {
  const auto value = tryParseJson(line);
  const auto* object = value ? value->if_object() : nullptr;
  const auto* debate = object != nullptr ? jsonObject(*object, "debate") : nullptr;
  const auto* events = object != nullptr ? jsonArray(*object, "events") : nullptr;
  if (debate == nullptr || events == nullptr)
    throw Error(Code::Damaged, fmt::format("line {} of the artifacts cannot be read", counts.debates + 1));
  const auto id = jsonTextOr(*debate, "id", "");
  for (const auto& element : *events) {
    const auto* entry = element.if_object();
    if (entry == nullptr) throw Error(Code::Damaged, fmt::format("debate {}: an event cannot be read", id));
    walk.take({id, jsonIntegerOr(*entry, "seq", 0), jsonTextOr(*entry, "type", ""), jsonIntegerOr(*entry, "round", 0),
               jsonTextOr(*entry, "agent", ""), jsonIntegerOr(*entry, "at", 0), jsonTextOr(*entry, "payload", ""),
               jsonTextOr(*entry, "prev_hash", ""), jsonTextOr(*entry, "key_id", ""), jsonTextOr(*entry, "hash", "")});
    ++counts.events;
  }
  ++counts.debates;
}
}  // namespace

ArtifactCounts writeDebates(const database::Target& target, const ByteSink& sink, Progress* progress) {
  auto reading = target;
  reading.statement_timeout = std::chrono::hours(1);
  const auto connection = database::connect(reading);
  const database::Transaction snapshot(*connection, target.engine == database::Engine::Sqlite
                                                        ? "BEGIN"
                                                        : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  const auto finished = fmt::format("d.status IN ({})", store::finalStatusesInSql());
  const auto all = connection->query("SELECT count(*) FROM debates d WHERE " + finished, {})[0].integer(0);
  begin(progress, {.what = "saving debates", .total = static_cast<std::uint64_t>(all), .noun = "debate"});
  ArtifactCounts counts;
  std::string last;
  while (true) {
    const auto rows =
        connection->query(fmt::format("SELECT {} FROM debates d WHERE d.id > $1 AND {} ORDER BY d.id LIMIT {}",
                                      store::kDebateColumns, finished, kPage),
                          {last});
    if (rows.empty()) return counts;
    for (const auto& row : rows) {
      const auto debate = store::toDebate(row);
      auto events = eventsOf(*connection, debate.id);
      counts.events += static_cast<std::int64_t>(events.size());
      ++counts.debates;
      sink(toJson(json::object{{"debate", describe(debate)}, {"events", std::move(events)}}) + "\n");
      last = debate.id;
      add(progress, 1);
    }
  }
}

ArtifactCounts checkDebates(const storage::Place& directory, const FileRecord& record, const crypto::Keyring& keyring) {
  ArtifactCounts counts;
  store::ChainWalk walk(&keyring);
  std::string line;
  readArtifact(directory, record, keyring.backupIdentities(), [&](std::string_view bytes) {
    while (!bytes.empty()) {
      const auto end = bytes.find('\n');
      line += bytes.substr(0, end);
      if (line.size() > kLineLimit) throw Error(Code::Damaged, "a line of the artifacts is too long");
      if (end == std::string_view::npos) return;
      checkLine(line, walk, counts);
      line.clear();
      bytes.remove_prefix(end + 1);
    }
  });
  if (!line.empty()) throw Error(Code::Damaged, "the artifacts end within a line");
  return counts;
}

}  // namespace aragora::backup
