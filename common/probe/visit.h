// The checklist's smoke test and post-deployment boxes, looked at from outside as a client does. Every box is looked
// at, or said not to be: nothing is passed that was not seen. Changes nothing but for one debate, which it deletes. The
// boxes of that debate are all that `aragora debate --test` looks at.
#pragma once

#include <functional>

#include "common/probe/site.h"

namespace aragora::probe {

enum class Outcome { Proved, Warning, Failed, Unverified };
std::string_view name(Outcome outcome);  // ok, warning, error, not_verified: as validate-env and verify say it

struct Seen {
  Outcome outcome = Outcome::Unverified;
  std::string message;
  std::string hint{};
};

struct Box {
  std::string_view id;     // stable
  std::string_view title;  // what an operator reads
  Seen seen;
  double seconds = 0;
};

// Each with all of those before it.
enum class Extent { Health, Debate, Everything };

// What the machine that has the database knows of its test debate, and no client. Both throw Error, Damaged for what
// does not hold.
struct OwnRecords {
  std::function<std::string()> keys = nullptr;                            // of the log of receipts, as a document
  std::function<std::size_t(const std::string& debate)> chain = nullptr;  // walks its events, and counts them
};

struct VisitOptions {
  SiteOptions site;
  Extent extent = Extent::Everything;
  bool debate = true;                 // hold one
  std::vector<std::string> agents{};  // of it; empty: as the deployment says
  std::int64_t rounds = 1;
  std::chrono::milliseconds longest_debate = std::chrono::minutes(3);  // of real models, two rounds
  OwnRecords own{};
  std::chrono::milliseconds whole = std::chrono::minutes(8);  // however slowly a server drips
  std::optional<std::uint16_t> clear_port;  // where HTTP is to lead to HTTPS; 80 when HTTPS has its own port
};

std::vector<Box> visit(const VisitOptions& options);
// 1 when a box failed, 69 when one could not be verified, 0.
int exitStatus(const std::vector<Box>& boxes);
// What visit() looks at, without looking: ids and titles in order.
std::vector<std::pair<std::string_view, std::string_view>> boxesOfVisit();

}  // namespace aragora::probe
