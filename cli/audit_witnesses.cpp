#include "cli/audit_witnesses.h"

#include "common/backup/elsewhere.h"
#include "common/storage/location.h"
#include "common/store/settings.h"

namespace aragora::cli {

namespace {
constexpr auto kPatience = std::chrono::seconds(10);

std::string instanceOf(const database::Target& target) {
  try {
    return store::readSetting(*database::connect(target), store::kInstanceId).value_or("");
  } catch (const Error&) {
    return {};
  }
}
}  // namespace

backup::AuditNotes auditNotes(Context& context, const database::Target& target, const crypto::Keyring& keyring) {
  const auto instance = instanceOf(target);
  if (instance.empty()) return {};
  auto notes = backup::stateNotes(context.config().stateDirectory(), instance, keyring);
  notes.add(backup::manifestNotes(context.backups(std::nullopt, std::nullopt), instance, keyring));
  const auto elsewhere = storage::offsite(context.config());
  if (!elsewhere) return notes;
  if (const auto why = backup::whyNotElsewhere(*elsewhere); !why.empty())
    notes.unread.push_back(fmt::format("the backups in {}: {}", elsewhere->describe(), why));
  else
    notes.add(backup::manifestNotes(*elsewhere, instance, keyring, kPatience));
  return notes;
}

}  // namespace aragora::cli
