#include "daemon/debate/options.h"

namespace aragora::debate {

json::object toJsonObject(const Options& options) {
  const Options usual;
  json::object object;
  json::array seats;
  bool of_seats = false;
  for (const auto& [role, weight] : options.seats) {
    json::object seat;
    if (!role.empty()) seat["role"] = role;
    if (weight != 0) seat["weight"] = weight;
    of_seats = of_seats || !seat.empty();
    seats.push_back(std::move(seat));
  }
  if (of_seats) object["seats"] = std::move(seats);
  if (options.quorum != usual.quorum) object["quorum"] = toText(options.quorum);
  if (options.share != usual.share) object["share"] = toText(options.share);
  if (options.allow_absent) object["allow_absent"] = true;
  if (!options.judge.empty()) object["judge"] = options.judge;
  if (options.deadline_seconds != 0) object["deadline_seconds"] = options.deadline_seconds;
  if (options.exclude_orders) object["gives_orders"] = kExclude;
  if (options.stop_when_steady) object["stop_when_steady"] = true;
  return object;
}

Options optionsFrom(const json::object& object) {
  Options options;
  if (const auto* seats = jsonArray(object, "seats")) {
    for (const auto& seat : *seats) {
      const auto* known = seat.if_object();
      options.seats.push_back(
          known == nullptr ? Options::OfSeat{}
                           : Options::OfSeat{jsonTextOr(*known, "role", ""), jsonIntegerOr(*known, "weight", 0)});
    }
  }
  options.quorum = parseShare(jsonTextOr(object, "quorum", "")).value_or(options.quorum);
  options.share = parseShare(jsonTextOr(object, "share", "")).value_or(options.share);
  options.allow_absent = jsonFlagOr(object, "allow_absent", false);
  options.judge = jsonTextOr(object, "judge", "");
  options.deadline_seconds = jsonIntegerOr(object, "deadline_seconds", 0);
  options.exclude_orders = jsonTextOr(object, "gives_orders", kMark) == kExclude;
  options.stop_when_steady = jsonFlagOr(object, "stop_when_steady", false);
  return options;
}

}  // namespace aragora::debate
