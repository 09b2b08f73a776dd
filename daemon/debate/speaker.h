// Tells whoever listens what one provider call says as it comes. One thread: the call's.
#pragma once

#include "daemon/debate/protocol.h"
#include "daemon/debate/spoken.h"
#include "daemon/providers/provider.h"
#include "daemon/wire/deltas.h"

namespace aragora::debate {

using Speak = std::function<void(const wire::Delta&)>;

class Speaker {
 public:
  // A try after the first one takes back what the ones before it said. `speak` may be empty; it outlives this.
  Speaker(const Speak& speak, const std::string& debate_id, const Place& place, std::int64_t attempt);
  ~Speaker();  // nothing more comes
  Speaker(const Speaker&) = delete;
  Speaker& operator=(const Speaker&) = delete;

  // For the provider. Of what is for nobody's ears, and of what surrounds what is, nothing is shown.
  providers::OnDelta onDelta();

 private:
  bool say(std::string_view part);
  void tell(wire::Delta::Kind kind, std::string text);
  const Speak& speak_;
  wire::Delta about_;
  Spoken spoken_;
  bool silent_;
};

}  // namespace aragora::debate
