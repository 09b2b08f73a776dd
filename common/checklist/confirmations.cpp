#include "common/checklist/confirmations.h"

#include "common/audit/audit.h"
#include "common/base/text.h"
#include "common/base/version.h"

namespace aragora::checklist {

namespace {
constexpr const char* kAction = "checklist.confirm";
constexpr std::string_view kObject = "box:";
constexpr Micros kDay = 86'400'000'000LL;
}  // namespace

Confirmation confirm(database::Connection& connection, const crypto::Keyring& keyring, const std::string& box,
                     const std::string& by, const std::string& note, const std::string& actor) {
  const auto now = nowMicros();
  Confirmation given{by, note, actor, std::string(kVersion), now, now + kConfirmationDays * kDay};
  database::Transaction transaction(connection,
                                    connection.engine() == database::Engine::Sqlite ? "BEGIN IMMEDIATE" : "BEGIN");
  audit::append(
      connection, keyring,
      {actor,
       kAction,
       std::string(kObject) + box,
       "success",
       {},
       {},
       {{"by", by}, {"note", note}, {"version", given.version}, {"at", toIso(now)}, {"until", toIso(given.until)}}});
  transaction.commit();
  return given;
}

Confirmations confirmations(database::Connection& connection, const crypto::Keyring& keyring) {
  const auto rows = connection.query("SELECT object, actor, details FROM audit_log WHERE action = $1 ORDER BY seq",
                                     {std::string(kAction)});
  if (rows.empty()) return {};
  if (const auto chain = audit::verifyChain(connection, keyring); chain.first_bad)
    throw Error(
        Code::Damaged,
        fmt::format("no confirmation is believed: entry {} of the audit log: {}", *chain.first_bad, chain.reason),
        "see: aragora audit verify");
  Confirmations all;
  for (const auto& row : rows) {
    const auto value = tryParseJson(row.text(2));
    if (!value || !value->is_object() || !startsWith(row.text(0), kObject)) continue;
    const auto& details = value->get_object();
    all.insert_or_assign(
        row.text(0).substr(kObject.size()),
        Confirmation{jsonTextOr(details, "by", ""), jsonTextOr(details, "note", ""), row.text(1),
                     jsonTextOr(details, "version", ""), fromIso(jsonTextOr(details, "at", "")).value_or(0),
                     fromIso(jsonTextOr(details, "until", "")).value_or(0)});
  }
  return all;
}

}  // namespace aragora::checklist
