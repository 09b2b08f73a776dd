#include "common/backup/ownership.h"

#include <unistd.h>

#include <thread>

#include "common/backup/repository.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/store/settings.h"

namespace aragora::backup {

namespace {
constexpr const char* kMark = "deployment.json";
constexpr std::size_t kMarkLimit = 64 * 1024;
constexpr std::chrono::seconds kSettle{1};

std::string hostName() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::optional<Owner> readMark(const storage::Place& place) {
  const auto text = place.text(kMark, kMarkLimit);
  if (!text) return std::nullopt;
  const auto value = tryParseJson(*text);
  const auto* object = value ? value->if_object() : nullptr;
  const auto id = object != nullptr ? jsonTextOr(*object, "instance_id", "") : "";
  if (id.empty())
    throw Error(Code::Damaged,
                fmt::format("{} cannot be read: nothing tells whose backups these are", (place / kMark).describe()),
                "if they are this deployment's, remove it; the next backup writes it again");
  return Owner{id, jsonTextOr(*object, "host", ""), fromIso(jsonTextOr(*object, "since", "")).value_or(0)};
}

std::optional<Owner> ownerByManifests(const storage::Place& place) {
  for (const auto kind : allKinds()) {
    const auto names = (place / name(kind)).list();
    for (auto newest = names.rbegin(); newest != names.rend(); ++newest) {
      if (startsWith(newest->name, ".") || !newest->folder) continue;
      const auto entry = Repository::read(place / name(kind) / newest->name);
      if (entry.manifest && entry.problem.empty()) return Owner{entry.manifest->instance_id, {}, 0};
    }
  }
  return std::nullopt;
}

void writeMark(const storage::Place& place, const Owner& owner) {
  const auto text = toPrettyJson(json::object{
                        {"instance_id", owner.instance_id}, {"host", owner.host}, {"since", toIso(owner.since)}}) +
                    "\n";
  if (!place.isLocal()) {
    place.writeText(kMark, text);
    std::this_thread::sleep_for(kSettle);
    return;
  }
  // Whole or not at all, and only where there is none.
  makeDirectories(place.path(), 0750);
  createFileOnce(place.path() / kMark, text, 0640);
}

void requireSame(const storage::Place& place, const Owner& owner, const std::string& instance_id) {
  if (owner.instance_id == instance_id) return;
  throw Error(
      Code::Conflict,
      fmt::format("{} holds the backups of another deployment ({}{}{}), this one is {}", place.describe(),
                  printable(owner.instance_id, 40), owner.host.empty() ? "" : " on " + printable(owner.host, 60),
                  owner.since > 0 ? " since " + toIso(owner.since) : "", instance_id),
      "give each deployment a place of its own: ARAGORA_BACKUP_DIR here, ARAGORA_OFFSITE elsewhere");
}
}  // namespace

std::optional<Owner> ownerOf(const storage::Place& place) {
  auto mark = readMark(place);
  return mark ? mark : ownerByManifests(place);
}

void requireOwner(const storage::Place& place, const std::string& instance_id) {
  if (const auto owner = ownerOf(place)) requireSame(place, *owner, instance_id);
}

void claimPlace(const storage::Place& place, const std::string& instance_id) {
  if (const auto mark = readMark(place)) return requireSame(place, *mark, instance_id);
  if (const auto owner = ownerByManifests(place)) requireSame(place, *owner, instance_id);
  writeMark(place, {instance_id, hostName(), nowMicros()});
  const auto written = readMark(place);
  if (!written)
    throw Error(Code::Io, fmt::format("{} was written and is not there", (place / kMark).describe()), "try again");
  requireSame(place, *written, instance_id);
}

std::optional<std::string> instanceOf(const database::Target& target) {
  const auto connection = database::connect(target);
  const bool migrated =
      target.engine == database::Engine::Sqlite
          ? !connection->query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'settings'", {}).empty()
          : connection->query("SELECT to_regclass('settings') IS NOT NULL", {})[0].text(0) == "t";
  if (!migrated) return std::nullopt;
  if (auto known = store::readSetting(*connection, store::kInstanceId)) return known;
  return store::settingOrInsert(*connection, store::kInstanceId, newUlid());
}

}  // namespace aragora::backup
