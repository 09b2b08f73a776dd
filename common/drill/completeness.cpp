#include "common/drill/completeness.h"

#include <future>
#include <set>
#include <thread>

#include "common/backup/increments.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::drill {

namespace {
constexpr auto kPlaceTime = std::chrono::seconds(5);
constexpr std::string_view kRecord = ".json";
constexpr std::string_view kPages = ".pages.zst.age";
constexpr std::string_view kSealed = ".zst.age";

// The names that hold something, without the ending.
std::set<std::string> named(const std::vector<storage::Item>& items, std::string_view ending) {
  std::set<std::string> names;
  for (const auto& item : items) {
    if (!item.folder && item.size > 0 && !startsWith(item.name, ".") && endsWith(item.name, ending))
      names.insert(item.name.substr(0, item.name.size() - ending.size()));
  }
  return names;
}

void compare(const storage::Place& place, const backup::Entry& entry, std::vector<std::string>& lacks) {
  const auto there = place / name(entry.manifest->kind) / entry.id;
  for (const auto& file : entry.manifest->files) {
    const auto size = there.size(file.path);
    if (size == file.stored_size) continue;
    lacks.push_back(
        size ? fmt::format("{} has {} bytes, not {}", (there / file.path).describe(), *size, file.stored_size)
             : fmt::format("{} is missing", (there / file.path).describe()));
  }
  for (const auto* file : {"manifest.json", "manifest.json.sig"}) {
    if (!there.size(file)) lacks.push_back(fmt::format("{} is missing", (there / file).describe()));
  }
}

Elsewhere look(const storage::Place& place, const Copied& copied, const crypto::Keyring& keyring) {
  Elsewhere result;
  try {
    for (const auto& entry : copied.entries) compare(place, entry, result.lacks);
    if (!copied.log) return result;
    result.window = backup::recoveryWindow(place, keyring);
    if (result.window && !result.window->gap && result.window->missing.empty() &&
        result.window->end < copied.log->flushed)
      result.lacks.push_back(fmt::format("the log was copied there through {} and ends at {}",
                                         backup::formatLsn(copied.log->flushed),
                                         backup::formatLsn(result.window->end)));
    if (result.window && !result.window->missing.empty()) result.lacks.push_back(result.window->missing);
    if (result.window && result.window->gap)
      result.lacks.push_back(fmt::format("the log there has a gap at {}", backup::formatLsn(result.window->end)));
  } catch (const Error& error) {
    result.failure = error.what();
  }
  return result;
}
}  // namespace

std::vector<std::string> whatIncrementsLack(const backup::Entry& full) {
  std::vector<std::string> lacks;
  const auto folder = backup::incrementsDirectory(full);
  const auto items = folder.list();
  const auto pages = named(items, kPages);
  std::int64_t expected = 1;
  for (const auto& name : named(items, kRecord)) {
    const auto number = parseInteger(name).value_or(0);
    if (number != expected)
      lacks.push_back(
          fmt::format("increment {} of {} is missing: nothing behind it can be restored", expected, full.id));
    expected = number + 1;
    if (pages.count(name) == 0)
      lacks.push_back(fmt::format("{} is missing or empty", (folder / (name + std::string(kPages))).describe()));
  }
  return lacks;
}

std::vector<std::string> whatLogLacks(const storage::Place& wal, const std::vector<std::uint32_t>& timelines) {
  std::vector<std::string> lacks;
  for (const auto timeline : timelines) {
    const auto folder = wal / fmt::format("{:08X}", timeline);
    const auto items = folder.list();
    const auto sealed = named(items, kSealed);
    const auto records = named(items, kRecord);
    for (const auto& item : items) {
      if (!startsWith(item.name, ".") && endsWith(item.name, kSealed) && item.size == 0)
        lacks.push_back(fmt::format("{} is empty", (folder / item.name).describe()));
    }
    for (const auto& name : sealed) {
      if (records.count(name) == 0)
        lacks.push_back(fmt::format("{} is missing", (folder / (name + std::string(kRecord))).describe()));
    }
  }
  return lacks;
}

Elsewhere lookElsewhere(const storage::Place& place, const Copied& copied, const crypto::Keyring& keyring) {
  // Everything by value: the thread may go on when nobody waits any more.
  std::packaged_task<Elsewhere()> task([place, copied, keyring] { return look(place, copied, keyring); });
  auto answer = task.get_future();
  std::thread(std::move(task)).detach();
  if (answer.wait_for(kPlaceTime) == std::future_status::ready) return answer.get();
  Elsewhere result;
  result.failure = fmt::format("{} did not answer within {}", place.describe(), humanDuration(kPlaceTime));
  return result;
}

}  // namespace aragora::drill
