#include "common/notify/kept.h"

#include <algorithm>
#include <tuple>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::notify {

namespace {
constexpr std::size_t kMost = 200;
constexpr int kMostRounds = 200;  // more than seven days have, whatever the clock says
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
                              {"unsure", one.unsure},
                              {"order", one.order},
                              {"event", toDocument(one.event, sender)}};
  writeFileAtomically(one.file, toJson(document), 0600);
}

void Kept::keep(Channel channel, const Event& event, const Sender& sender, const std::string& problem,
                bool unsure) const {
  makePlace();
  const auto before = all();
  for (std::size_t i = 0; before.size() - i >= kMost; ++i) giveUp(before[i], "too many wait");
  const auto order = std::max(event.at, before.empty() ? 0 : before.back().order + 1);
  write({directory_ / fmt::format("{}.{}.json", event.id, name(channel)), channel, event, 1,
         nowMicros() + pauseAfter(0), problem, unsure, order},
        sender);
}

void Kept::makePlace() const {
  makeDirectories(directory_.parent_path().parent_path(), 0750);
  makeDirectories(directory_, 0700);
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
                       jsonIntegerOr(*object, "next_at", 0), jsonTextOr(*object, "problem", ""),
                       jsonFlagOr(*object, "unsure", false), jsonIntegerOr(*object, "order", parsed->at)});
    } catch (const Error& error) {
      log::debug("{}: {}", entry->path().string(), error.what());
    }
  }
  std::sort(found.begin(), found.end(), [](const KeptEvent& a, const KeptEvent& b) {
    return std::tie(a.order, a.event.id) < std::tie(b.order, b.event.id);
  });
  return found;
}

std::vector<KeptEvent> Kept::of(Channel channel) const {
  auto found = all();
  std::erase_if(found, [&](const KeptEvent& one) { return one.channel != channel; });
  return found;
}

bool Kept::holds(Channel channel, std::string_view key) const {
  const auto found = of(channel);
  return std::any_of(found.begin(), found.end(), [&](const KeptEvent& one) { return one.event.what.key == key; });
}

void Kept::postpone(KeptEvent one, const Sender& sender, const std::string& problem, bool unsure) const {
  // Who takes a webhook twice sees that by its id; a mail would come again and again.
  if (unsure && one.unsure && one.channel == Channel::Email)
    return giveUp(one, "it was handed over twice, and may have been delivered: " + problem);
  if (nowMicros() - one.event.at > kOldest || one.tries > kMostRounds)
    return giveUp(one, fmt::format("that was tried for {}: {}",
                                   humanDuration(std::chrono::milliseconds(kOldest / 1000)), problem));
  one.unsure |= unsure;
  one.next_at = nowMicros() + pauseAfter(one.tries++);
  one.problem = problem;
  write(one, sender);
}

void Kept::giveUp(const KeptEvent& one, std::string_view why) const {
  log::warning("«{}» is given up, and not told by {}: {}", one.event.what.summary, name(one.channel), why);
  remove(one);
}

void Kept::remove(const KeptEvent& one) const {
  std::error_code ignored;
  fs::remove(one.file, ignored);
}

std::optional<FileLock> Kept::lock(Channel channel) const {
  makePlace();
  return FileLock::tryAcquire(directory_ / fmt::format("{}.lock", name(channel)));
}

bool isDue(const KeptEvent& one, Micros now) { return one.next_at <= now || one.next_at - now > kLongestPause; }

}  // namespace aragora::notify
