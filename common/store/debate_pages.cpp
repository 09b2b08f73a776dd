#include "common/store/debate_pages.h"

#include "common/base/text.h"
#include "common/store/debate_row.h"
#include "common/store/settings.h"

namespace aragora::store {

using database::Connection;
using database::Values;

namespace {
constexpr std::size_t kStride = 64;
constexpr std::int64_t kRowsAtOnce = 500'000;
// Longer than a create can take from reading the clock to its commit, and than the clocks of two instances differ.
constexpr Micros kSettled = 60'000'000;
constexpr auto kExtendEvery = std::chrono::seconds(1);
constexpr auto kReadAnewEvery = std::chrono::minutes(10);

bool hasKeys(std::optional<DebateStatus> status) { return !status || isFinal(*status); }

// Debates older than this keep their place for good.
Micros settledBefore(Connection& connection, std::optional<DebateStatus> status) {
  const auto now = nowMicros() - kSettled;
  if (!status) return now;
  auto oldest = now;
  for (const auto open : debateStatuses()) {
    if (isFinal(open)) continue;
    const auto rows =
        connection.query("SELECT min(created_at) FROM debates WHERE status = $1", {std::string(name(open))});
    oldest = std::min(oldest, rows.at(0).optionalInteger(0).value_or(now));
  }
  return oldest;
}

// "WHERE a AND b", or nothing.
std::string where(const std::vector<std::string>& conditions) {
  return conditions.empty() ? std::string() : "WHERE " + join(conditions, " AND ");
}
}  // namespace

DebatePages::Page DebatePages::page(std::optional<DebateStatus> status, std::int64_t limit, std::int64_t offset) {
  return database_.reading([&](Connection& connection) {
    const auto keys = this->keys(connection, status);
    const auto settled = static_cast<std::int64_t>(keys->list.size() * kStride);

    Values values;
    std::vector<std::string> conditions;
    const auto bind = [&values](database::Value value) {
      values.push_back(std::move(value));
      return fmt::format("${}", values.size());
    };
    if (status) conditions.push_back("status = " + bind(std::string(name(*status))));
    const auto of_status = std::pair(values, conditions);
    const auto bound = [&](const Key& key, std::string_view comparison) {
      const auto at = bind(key.created_at);
      conditions.push_back(fmt::format("(created_at, id) {} ({}, {})", comparison, at, bind(key.id)));
    };

    if (!keys->list.empty()) bound(keys->list.back(), ">");
    const auto newer = connection.query("SELECT count(*) FROM debates " + where(conditions), values)[0].integer(0);
    Page page;
    page.total = settled + newer;
    if (offset >= page.total) return page;

    // Start at the nearest key at or above the page's first debate; above the last key, at the newest debate.
    std::tie(values, conditions) = of_status;
    const auto first = page.total - offset;  // counted from the oldest
    auto skip = offset;
    if (first <= settled) {
      const auto index = (static_cast<std::size_t>(first) + kStride - 1) / kStride;
      bound(keys->list[index - 1], "<=");
      skip = static_cast<std::int64_t>(index * kStride) - first;
    }
    const auto rows_wanted = bind(limit);
    const auto sql = fmt::format("SELECT {} FROM debates d {} ORDER BY created_at DESC, id DESC LIMIT {} OFFSET {}",
                                 kDebateColumns, where(conditions), rows_wanted, bind(skip));
    for (const auto& row : connection.query(sql, values)) page.debates.push_back(toDebate(row));
    return page;
  });
}

void DebatePages::forget() {
  const std::lock_guard lock(mutex_);
  keys_.clear();
}

std::shared_ptr<const DebatePages::Keys> DebatePages::keys(Connection& connection, std::optional<DebateStatus> status) {
  static const auto kNone = std::make_shared<const Keys>();
  if (!hasKeys(status)) return kNone;
  const auto now = std::chrono::steady_clock::now();
  std::shared_ptr<const Keys> known;
  {
    const std::lock_guard lock(mutex_);
    known = keys_[status];
  }
  if (known && now - known->extended < kExtendEvery) return known;
  const std::unique_lock alone(extending_, std::try_to_lock);
  if (!alone.owns_lock()) return known ? known : kNone;
  const auto removed = readSetting(connection, kDebatesRemoved);
  const bool valid = known && now - known->read < kReadAnewEvery && known->removed == removed;
  auto next = valid ? std::make_shared<Keys>(*known) : std::make_shared<Keys>();
  next->removed = removed;
  if (next->list.empty()) next->read = now;
  next->extended = now;
  extend(connection, status, *next);
  const std::lock_guard lock(mutex_);
  return keys_[status] = std::move(next);
}

void DebatePages::extend(Connection& connection, std::optional<DebateStatus> status, Keys& keys) {
  const auto settled = settledBefore(connection, status);
  while (true) {
    const auto last = keys.list.empty() ? Key{} : keys.list.back();
    Values values{settled, last.created_at, last.id, kRowsAtOnce, static_cast<std::int64_t>(kStride)};
    if (status) values.emplace_back(std::string(name(*status)));
    const auto rows = connection.query(
        fmt::format("SELECT created_at, id FROM (SELECT created_at, id, row_number() OVER (ORDER BY created_at, id) AS "
                    "place FROM (SELECT created_at, id FROM debates WHERE created_at < $1 AND (created_at, id) > ($2, "
                    "$3) {} ORDER BY created_at, id LIMIT $4) settled) numbered WHERE place % $5 = 0 ORDER BY "
                    "created_at, id",
                    status ? "AND status = $6" : ""),
        values);
    for (const auto& row : rows) keys.list.push_back({row.integer(0), row.text(1)});
    if (static_cast<std::int64_t>(rows.size()) < kRowsAtOnce / static_cast<std::int64_t>(kStride)) return;
  }
}

}  // namespace aragora::store
