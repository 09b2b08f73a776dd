#include "common/backup/physical/wal_status.h"

#include "common/base/error.h"
#include "common/base/names.h"

namespace aragora::backup {

namespace {
constexpr Names<SlotState, 5> kSlotStates{{{SlotState::Unknown, ""},
                                           {SlotState::Reserved, "reserved"},
                                           {SlotState::Extended, "extended"},
                                           {SlotState::Unreserved, "unreserved"},
                                           {SlotState::Lost, "lost"}}};
}  // namespace

std::string name(SlotState state) { return std::string(nameIn(kSlotStates, state)); }
SlotState parseSlotState(std::string_view name) { return parseIn(kSlotStates, name).value_or(SlotState::Unknown); }
bool losesLog(SlotState state) { return state == SlotState::Unreserved || state == SlotState::Lost; }

json::object describe(const WalStatus& status) {
  return {{"timeline", status.timeline},
          {"flushed", formatLsn(status.flushed)},
          {"durable_through", status.durable_through > 0 ? toIso(status.durable_through) : ""},
          {"updated_at", toIso(status.updated_at)},
          {"slot", status.slot},
          {"slot_state", name(status.slot_state)},
          {"retained_bytes", status.retained_bytes},
          {"problem", status.problem}};
}

std::optional<WalStatus> parseWalStatus(const std::string& text) {
  const auto value = tryParseJson(text);
  const auto* object = value ? value->if_object() : nullptr;
  if (object == nullptr) return std::nullopt;
  WalStatus status;
  status.timeline = static_cast<std::uint32_t>(jsonIntegerOr(*object, "timeline", 0));
  status.flushed = parseLsn(jsonTextOr(*object, "flushed", "")).value_or(0);
  status.durable_through = fromIso(jsonTextOr(*object, "durable_through", "")).value_or(0);
  status.updated_at = fromIso(jsonTextOr(*object, "updated_at", "")).value_or(0);
  status.slot = jsonTextOr(*object, "slot", "");
  status.slot_state = parseSlotState(jsonTextOr(*object, "slot_state", ""));
  status.retained_bytes = jsonIntegerOr(*object, "retained_bytes", 0);
  status.problem = jsonTextOr(*object, "problem", "");
  return status;
}

}  // namespace aragora::backup
