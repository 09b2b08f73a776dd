#include "common/notify/kept.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::notify {

namespace {
constexpr std::size_t kMost = 200;
constexpr Micros kOldest = 7LL * 24 * 3600 * 1'000'000;
constexpr Micros kFirstPause = 30LL * 1'000'000;  // doubles
constexpr Micros kLongestPause = 3600LL * 1'000'000;
constexpr std::size_t kFileLimit = 1U << 20;

Micros pauseAfter(int tries) { return std::min(kLongestPause, kFirstPause << std::min(tries, 10)); }
}  // namespace

void Kept::write(const KeptEvent& one, const Sender& sender) const {
  const json::object document{{"channel", name(one.channel)},
                              {"tries", one.tries},
                              {"next_at", one.next_at},
                              {"problem", one.problem},
                              {"event", toDocument(one.event, sender)}};
  writeFileAtomically(one.file, toJson(document), 0600);
}

void Kept::keep(Channel channel, const Event& event, const Sender& sender, const std::string& problem) const {
  makeDirectories(directory_.parent_path().parent_path(), 0750);
  makeDirectories(directory_, 0700);
  auto before = all();
  for (std::size_t i = 0; before.size() - i >= kMost; ++i) {
    log::warning("«{}» was never told by {} and is given up: too many wait", before[i].event.what.summary,
                 name(before[i].channel));
    remove(before[i]);
  }
  write({directory_ / fmt::format("{}.{}.json", event.id, name(channel)), channel, event, 1,
         nowMicros() + pauseAfter(0), problem},
        sender);
}

std::vector<KeptEvent> Kept::all() const {
  std::vector<KeptEvent> found;
  std::error_code failed;
  for (fs::directory_iterator entry(directory_, failed), end; !failed && entry != end; entry.increment(failed)) {
    if (entry->path().extension() != ".json") continue;
    try {
      const auto document = tryParseJson(readFile(entry->path(), kFileLimit));
      const auto* object = document ? document->if_object() : nullptr;
      const auto* event = object != nullptr ? jsonObject(*object, "event") : nullptr;
      const auto channel = object != nullptr ? parseChannel(jsonTextOr(*object, "channel", "")) : std::nullopt;
      const auto parsed = event != nullptr ? fromDocument(*event) : std::nullopt;
      if (!channel || !parsed) continue;
      found.push_back({entry->path(), *channel, *parsed, static_cast<int>(jsonIntegerOr(*object, "tries", 1)),
                       jsonIntegerOr(*object, "next_at", 0), jsonTextOr(*object, "problem", "")});
    } catch (const Error& error) {
      log::debug("{}: {}", entry->path().string(), error.what());
    }
  }
  std::sort(found.begin(), found.end(), [](const KeptEvent& a, const KeptEvent& b) { return a.event.id < b.event.id; });
  return found;
}

void Kept::postpone(KeptEvent one, const Sender& sender, const std::string& problem) const {
  if (nowMicros() - one.event.at > kOldest) {
    log::warning("«{}» could not be told by {} for {} and is given up: {}", one.event.what.summary, name(one.channel),
                 humanDuration(std::chrono::milliseconds(kOldest / 1000)), problem);
    return remove(one);
  }
  one.next_at = nowMicros() + pauseAfter(one.tries++);
  one.problem = problem;
  write(one, sender);
}

void Kept::remove(const KeptEvent& one) const {
  std::error_code ignored;
  fs::remove(one.file, ignored);
}

std::optional<FileLock> Kept::lock() const { return FileLock::tryAcquire(directory_ / "lock"); }

}  // namespace aragora::notify
