// What a recovery can be asked for, and how it is said.
#include "common/backup/physical/recovery_plan.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
using Goal = RecoveryTarget::Kind;
}  // namespace

std::string describe(const RecoveryTarget& target) {
  const auto* before = target.exclusive ? "just before " : "";
  switch (target.kind) {
    case Goal::Latest:
      return "the end of the log";
    case Goal::Time:
      return fmt::format("{}time {}", before, target.value);
    case Goal::Name:
      return "restore point " + target.value;
    case Goal::Position:
      return fmt::format("{}position {}", before, target.value);
    case Goal::Xid:
      return fmt::format("{}transaction {}", before, target.value);
    case Goal::Consistent:
      return "the end of the base backup";
  }
  return {};
}

void requireWellFormed(const RecoveryTarget& target) {
  const auto refuse = [&](const char* hint) {
    throw Error(Code::Usage,
                fmt::format("'{}' is no {}", printable(target.value, 60),
                            target.kind == Goal::Time       ? "time"
                            : target.kind == Goal::Position ? "position"
                            : target.kind == Goal::Name     ? "name of a restore point"
                                                            : "transaction"),
                hint);
  };
  if (target.kind == Goal::Time && !fromIso(target.value)) refuse("write it as 2026-01-13T10:00:00Z");
  if (target.kind == Goal::Position && !parseLsn(target.value)) refuse("write it as 16/B374D848");
  // PostgreSQL takes any text below 64 bytes; a line of the log's description holds no control characters.
  const bool control = std::any_of(target.value.begin(), target.value.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (target.kind == Goal::Name && (target.value.empty() || target.value.size() > 63 || control))
    refuse("1 to 63 bytes without control characters; else name the position: --target-lsn");
  const auto number = parseInteger(target.value);
  if (target.kind == Goal::Xid && (!number || *number < 1 || *number > UINT32_MAX))
    refuse("write the number that pg_current_xact_id() gave, without its epoch");
  if (target.exclusive && (target.kind == Goal::Latest || target.kind == Goal::Name))
    throw Error(Code::Usage, fmt::format("there is no just before {}", describe({target.kind, target.value, false})),
                "--exclusive goes with --target-time, --target-lsn or --target-xid");
}

}  // namespace aragora::backup
