// What instances tell each other through Redis: that there is something new, and where to look. Never the thing itself:
// whoever hears a hint reads the database, so that what is lost, late, doubled or forged does no harm, and nothing of a
// debate stands in Redis. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aragora::cluster {

enum class HintKind {
  Event,    // a debate has an event of that number
  Lists,    // lists show something else
  Cancel,   // somebody asked for the end of a debate, or that it rests
  Breaker,  // a provider fails, or works again: each instance finds out for itself
  Listen,   // somebody at the instance that tells it wants to hear a debate's answers as they are made
  Minded,   // whoever told a hint with that ticket: it was heard here, and minded
};

struct Hint {
  HintKind kind = HintKind::Lists;
  std::string debate_id{};  // of a breaker: "PROVIDER:EVENT"
  std::int64_t seq = 0;     // of an event; of a breaker: milliseconds
  std::int64_t ticket = 0;  // under which to say that it was minded; 0: nobody waits for that
};

// One line. `instance` is who tells it, so that nobody minds what it said itself.
std::string encode(const Hint& hint, std::string_view instance);
struct Heard {
  std::string instance;
  Hint hint;
};
// nullopt for what is no hint of this version.
std::optional<Heard> parse(std::string_view line);

}  // namespace aragora::cluster
