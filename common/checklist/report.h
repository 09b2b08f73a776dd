// The checklist as it stands: every box with its state, what was seen and when. A box is proved only when everything
// that proves it was looked at and is as it should be.
#pragma once

#include <map>

#include "common/checks/check.h"
#include "common/probe/visit.h"

namespace aragora::checklist {

enum class State { Proved, Confirmed, ForAPerson, CouldNotVerify, Failed };  // the worst last
std::string_view name(State state);  // proved, confirmed, for_a_person, could_not_verify, failed

// What somebody answers for; see confirmations.h.
struct Confirmation {
  std::string by;
  std::string note;
  std::string actor;  // who typed it, as the kernel has it
  std::string version;
  Micros at = 0;
  Micros until = 0;
};
using Confirmations = std::map<std::string, Confirmation>;  // the newest of each box

struct Box {
  std::string id;
  std::string section;
  std::string title;
  State state = State::CouldNotVerify;
  std::string evidence;
  std::string fix;
  std::string document;
  Micros at = 0;  // when it was looked at, or confirmed
  std::optional<Confirmation> confirmation{};
};

struct Report {
  Micros at = 0;
  std::string host;
  std::string environment;
  std::string version;
  std::string commit;
  std::string url;  // that was looked at; empty: none
  std::vector<Box> boxes;

  std::size_t count(State state) const;
  // 1 when a box failed, 69 when one could not be verified or waits for a person, 0.
  int exitStatus() const;
};

// What was looked at, by those who can.
struct Evidence {
  const config::Config& config;
  const checks::Report& checks;
  const std::optional<std::vector<probe::Box>>& visit;
  std::optional<Confirmations> confirmations{};  // nullopt: `confirmations_trouble` says why not
  std::string confirmations_trouble{};
  std::string url{};
  std::string prometheus{};  // whose alerting rules are looked at; empty: nobody's
};

// Looks at the rest: the database, the daemon's metrics, the evidence of drills.
Report gather(const Evidence& evidence);

}  // namespace aragora::checklist
