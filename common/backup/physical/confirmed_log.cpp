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
                       {"open_sha256", confirmed.open_sha256}},
                      keyring);
}

}  // namespace aragora::backup
