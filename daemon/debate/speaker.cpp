#include "daemon/debate/speaker.h"

#include "common/base/log.h"

namespace aragora::debate {

using Kind = wire::Delta::Kind;

Speaker::Speaker(const Speak& speak, const std::string& debate_id, const Place& place, std::int64_t attempt)
    : speak_(speak),
      about_{debate_id, place.seat, place.phase, place.round, attempt},
      spoken_(spokenMember(place.phase)),
      silent_(!speak || spokenMember(place.phase).empty()) {
  if (!silent_ && attempt > 1) tell(Kind::Reset, {});
}

Speaker::~Speaker() {
  if (silent_ || about_.offset == 0) return;
  try {
    tell(Kind::End, {});
  } catch (const std::exception& error) {  // a destructor
    log::debug("nobody was told that a call has said all: {}", error.what());
  }
}

providers::OnDelta Speaker::onDelta() {
  return [this](std::string_view part) { return say(part); };
}

bool Speaker::say(std::string_view part) {
  if (silent_) return false;
  auto text = spoken_.take(part);
  if (text.empty()) return false;
  const auto length = wire::characters(text);
  tell(Kind::Text, std::move(text));
  about_.offset += length;
  return true;
}

void Speaker::tell(Kind kind, std::string text) {
  about_.kind = kind;
  about_.text = std::move(text);
  about_.at = nowMicros();
  speak_(about_);
}

}  // namespace aragora::debate
