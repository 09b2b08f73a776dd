#include "common/drill/recovery_time.h"

namespace aragora::drill {

namespace {
// Stored bytes, and bytes of log, a second: what an ordinary machine does when nobody has measured. Elsewhere means a
// store at the other end of a network.
struct Speed {
  double unpack;
  double replay;
};
constexpr Speed kHere{40e6, 40e6};
constexpr Speed kElsewhere{10e6, 10e6};
constexpr double kStart = 15;  // a server and a daemon until they are ready
// A drill of less measures how long programs take to start.
constexpr double kTellsSpeed = 64.0 * (1 << 20);

double timeFor(double now, double measured, double seconds, double assumed) {
  const bool tells = measured >= kTellsSpeed && seconds > 0;
  if (now <= measured) return tells ? seconds * now / measured : seconds;
  return seconds + (now - measured) / (tells ? measured / seconds : assumed);
}

const json::object* lastOf(const std::vector<Kept>& drills, const fs::path& here, Where place, Way way) {
  for (auto kept = drills.rbegin(); kept != drills.rend(); ++kept) {
    const auto& document = kept->document;
    const bool local = jsonTextOr(document, "place", "") == here.string();
    if (kept->authentic && jsonFlagOr(document, "recovered", false) && jsonTextOr(document, "kind", "") == name(way) &&
        local == (place == Where::Local))
      return &document;
  }
  return nullptr;
}
}  // namespace

Prediction predictRecovery(const std::vector<Kept>& drills, const fs::path& here, Where place, Way way,
                           const Amount& amount) {
  Prediction prediction{place, way, amount, 0, false};
  const auto& speed = place == Where::Local ? kHere : kElsewhere;
  const auto backup = static_cast<double>(amount.backup);
  const auto log = static_cast<double>(amount.log);
  const auto* drill = lastOf(drills, here, place, way);
  if (drill == nullptr) {
    prediction.seconds = kStart + backup / speed.unpack + log / speed.replay;
    return prediction;
  }
  const auto number = [&](const char* name) { return jsonNumberOr(*drill, name, 0); };
  const auto whole = number("rto_seconds");
  // Evidence of older versions has the sum only.
  const auto unpack = number("unpack_seconds") > 0 ? number("unpack_seconds") : whole;
  const auto replay = number("replay_seconds");
  prediction.measured = true;
  prediction.seconds = std::max(0.0, whole - unpack - replay) +
                       timeFor(backup, number("backup_bytes"), unpack, speed.unpack) +
                       timeFor(log, number("log_bytes"), replay, speed.replay);
  return prediction;
}

}  // namespace aragora::drill
