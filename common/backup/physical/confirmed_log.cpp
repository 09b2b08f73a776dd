#include "common/backup/physical/confirmed_log.h"

#include "common/backup/signed_record.h"
#include "common/base/error.h"

namespace aragora::backup {

std::optional<ConfirmedLog> readConfirmed(const storage::Place& folder, const crypto::Keyring& keyring) {
  const auto object = readSignedRecord(folder, kConfirmedName, keyring);
  if (!object) return std::nullopt;
  ConfirmedLog confirmed;
  confirmed.timeline = static_cast<std::uint32_t>(jsonIntegerOr(*object, "timeline", 0));
  confirmed.flushed = parseLsn(jsonTextOr(*object, "flushed", "")).value_or(0);
  confirmed.durable_through = jsonIntegerOr(*object, "durable_through", 0);
  confirmed.at = jsonIntegerOr(*object, "at", 0);
  confirmed.open_sha256 = jsonTextOr(*object, "open_sha256", "");
  confirmed.copy = jsonFlagOr(*object, "copy", false);
  // Else the promise about one timeline could stand for another.
  if (fmt::format("{:08X}", confirmed.timeline) != folder.name())
    throw Error(Code::Damaged, fmt::format("{}: is of another timeline", (folder / kConfirmedName).describe()));
  return confirmed;
}

std::string confirmedText(const ConfirmedLog& confirmed, const crypto::Keyring& keyring) {
  return signedRecord({{"timeline", confirmed.timeline},
                       {"flushed", formatLsn(confirmed.flushed)},
                       {"durable_through", confirmed.durable_through},
                       {"at", confirmed.at},
                       {"open_sha256", confirmed.open_sha256},
                       {"copy", confirmed.copy}},
                      keyring);
}

std::optional<std::set<std::uint32_t>> readConfirmedTimelines(const storage::Place& log,
                                                              const crypto::Keyring& keyring) {
  const auto object = readSignedRecord(log, kTimelinesName, keyring);
  if (!object) return std::nullopt;
  std::set<std::uint32_t> timelines;
  if (const auto* list = object->if_contains("timelines"); list != nullptr && list->is_array()) {
    for (const auto& item : list->get_array()) {
      if (item.is_int64()) timelines.insert(static_cast<std::uint32_t>(item.get_int64()));
    }
  }
  return timelines;
}

std::string confirmedTimelinesText(const std::set<std::uint32_t>& timelines, const crypto::Keyring& keyring) {
  json::array list;
  for (const auto timeline : timelines) list.push_back(timeline);
  return signedRecord({{"timelines", std::move(list)}}, keyring);
}

}  // namespace aragora::backup
