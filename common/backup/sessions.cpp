#include "common/backup/sessions.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/redis/client.h"

namespace aragora::backup {

namespace {
constexpr std::string_view kPrefix = "aragora:session:";
constexpr auto kTimeout = std::chrono::seconds(5);

struct Session {
  std::string key;
  std::int64_t expires_ms = 0;
  std::string value;
};

std::vector<Session> parseLines(std::string_view lines) {
  std::vector<Session> sessions;
  for (const auto& line : split(lines, '\n')) {
    const auto value = tryParseJson(line);
    const auto* object = value ? value->if_object() : nullptr;
    const auto dumped = object != nullptr ? fromBase64(jsonTextOr(*object, "value", "!")) : std::nullopt;
    const auto key = object != nullptr ? jsonTextOr(*object, "key", "") : "";
    if (!dumped || !startsWith(key, kPrefix)) throw Error(Code::Damaged, "the sessions in the backup cannot be read");
    sessions.push_back({key, jsonIntegerOr(*object, "expires_ms", 0), *dumped});
  }
  return sessions;
}
}  // namespace

std::string dumpSessions(const Secret& redis_url) {
  redis::Client client(redis_url, kTimeout);
  std::string lines;
  std::string cursor = "0";
  std::set<std::string> seen;  // SCAN may name a key twice
  do {
    const auto page = client.command({"SCAN", cursor, "MATCH", std::string(kPrefix) + "*", "COUNT", "500"});
    if (page.elements.size() != 2) throw Error(Code::Internal, "Redis answered SCAN in a form that is not known");
    cursor = page.elements[0].text;
    for (const auto& key : page.elements[1].elements) {
      if (!seen.insert(key.text).second) continue;
      const auto left = client.command({"PTTL", key.text});
      const auto dumped = client.command({"DUMP", key.text});
      if (dumped.kind != redis::Reply::Kind::Text) continue;  // expired meanwhile
      const auto expires = left.integer > 0 ? nowMicros() / 1000 + left.integer : 0;
      const json::object line{{"key", key.text}, {"expires_ms", expires}, {"value", toBase64(dumped.text)}};
      lines += toJson(line) + "\n";
    }
  } while (cursor != "0");
  return lines;
}

std::size_t restoreSessions(const Secret& redis_url, std::string_view lines) {
  const auto sessions = parseLines(lines);
  redis::Client client(redis_url, kTimeout);
  std::size_t added = 0;
  for (const auto& session : sessions) {
    if (session.expires_ms != 0 && session.expires_ms <= nowMicros() / 1000) continue;
    if (client.command({"EXISTS", session.key}).integer != 0) continue;
    client.command({"RESTORE", session.key, fmt::format("{}", session.expires_ms), session.value, "ABSTTL"});
    ++added;
  }
  return added;
}

}  // namespace aragora::backup
