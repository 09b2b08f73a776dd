#include "common/checklist/report.h"

#include <unistd.h>

#include <algorithm>

#include "common/base/names.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/checklist/facts.h"
#include "common/checks/own_checks.h"

namespace aragora::checklist {

namespace {
constexpr std::string_view kOwnSection = "Boxes of this organisation";
constexpr Names<State, 5> kStates{{{State::Proved, "proved"},
                                   {State::Confirmed, "confirmed"},
                                   {State::ForAPerson, "for_a_person"},
                                   {State::CouldNotVerify, "could_not_verify"},
                                   {State::Failed, "failed"}}};

State stateOf(checks::Level level) {
  switch (level) {
    case checks::Level::Ok:
      return State::Proved;
    case checks::Level::Acknowledged:
      return State::Confirmed;
    case checks::Level::Skipped:
      return State::CouldNotVerify;
    case checks::Level::Warning:
    case checks::Level::Failure:
      return State::Failed;
  }
  return State::CouldNotVerify;
}

State stateOf(probe::Outcome outcome) {
  switch (outcome) {
    case probe::Outcome::Proved:
      return State::Proved;
    case probe::Outcome::Unverified:
      return State::CouldNotVerify;
    case probe::Outcome::Warning:
    case probe::Outcome::Failed:
      return State::Failed;
  }
  return State::CouldNotVerify;
}

Piece pieceOf(const checks::Outcome& outcome) {
  const auto worst = outcome.worst();
  Piece piece{stateOf(worst), ""};
  for (const auto& finding : outcome.findings) {
    if (finding.level != worst) continue;
    piece.text += (piece.text.empty() ? "" : "; ") + finding.message;
    if (piece.fix.empty()) piece.fix = finding.hint;
    // What could not be looked at is not what was found to be wrong.
    if (worst == checks::Level::Failure && (finding.code == Code::CouldNotVerify || finding.code == Code::Unreachable))
      piece.state = State::CouldNotVerify;
  }
  return piece;
}

Piece pieceOfCheck(const checks::Report& report, std::string_view id) {
  for (const auto& outcome : report.outcomes) {
    if (outcome.check->id == id) return pieceOf(outcome);
  }
  return {State::CouldNotVerify, fmt::format("{} was not looked at", id)};
}

Piece pieceOfVisit(const Evidence& evidence, std::string_view id) {
  constexpr const char* kAsk = "ask it: --url https://…, with a key";
  if (!evidence.visit) return {State::CouldNotVerify, "the running deployment was not looked at", kAsk};
  for (const auto& box : *evidence.visit) {
    if (box.id == id)
      return {stateOf(box.seen.outcome), fmt::format("{}: {}", box.title, box.seen.message), box.seen.hint};
  }
  return {State::CouldNotVerify, fmt::format("{} was not looked at", id)};
}

std::vector<Piece> piecesOf(const BoxRow& row, const Evidence& evidence, const Facts& facts) {
  std::vector<Piece> pieces;
  if (row.fact != Fact::None) pieces.push_back(facts.look(row.fact));
  for (const auto id : row.checks) pieces.push_back(pieceOfCheck(evidence.checks, id));
  for (const auto id : row.visits) pieces.push_back(pieceOfVisit(evidence, id));
  if (!row.metrics.empty()) pieces.push_back(facts.metrics(row.metrics));
  if (!row.alert.empty()) pieces.push_back(facts.alert(row.alert));
  if (!row.drilled.empty()) pieces.push_back(facts.drilled(row.drilled));
  if (pieces.empty()) pieces.push_back({State::ForAPerson, ""});
  return pieces;
}

// The worst decides; of it, everything is said once.
Box boxOf(const std::vector<Piece>& pieces) {
  Box box;
  box.at = nowMicros();
  box.state = std::max_element(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
                return a.state < b.state;
              })->state;
  std::vector<std::string> texts;
  for (const auto& piece : pieces) {
    const auto text = redact(printable(piece.text, 600));
    if (piece.state != box.state || text.empty() || std::find(texts.begin(), texts.end(), text) != texts.end())
      continue;
    texts.push_back(text);
    if (piece.at > 0) box.at = std::min(box.at, piece.at);
    if (box.fix.empty() && piece.state != State::Proved) box.fix = redact(piece.fix);
  }
  box.evidence = join(texts, "; ");
  return box;
}

void nameCommand(Box& box, std::string_view command) {
  box.evidence = fmt::format("{}: {}", command, box.evidence);
  if (box.state != State::Proved) box.fix += fmt::format("{}run: {}", box.fix.empty() ? "" : "; then ", command);
}

// A person may answer for what nothing here can see, and not for what was seen to be wrong.
void confirm(Box& box, const Evidence& evidence, bool of_release) {
  if (!evidence.confirmations) {
    if (box.state == State::ForAPerson && box.evidence.empty()) box.evidence = evidence.confirmations_trouble;
    return;
  }
  const auto found = evidence.confirmations->find(box.id);
  if (found == evidence.confirmations->end()) return;
  const auto& given = found->second;
  box.confirmation = given;
  const auto who = fmt::format("{} on {}", given.by, toIso(given.at).substr(0, 10));
  if (box.state != State::ForAPerson && box.state != State::CouldNotVerify) return;
  if (given.until < box.at || given.at > box.at || (of_release && given.version != kVersion)) {
    const auto why = of_release && given.version != kVersion
                         ? fmt::format("of version {}", given.version)
                         : fmt::format("until {}", toIso(given.until).substr(0, 10));
    box.evidence +=
        fmt::format("{}a confirmation by {} does not hold any more ({})", box.evidence.empty() ? "" : "; ", who, why);
    return;
  }
  box.state = State::Confirmed;
  box.evidence =
      fmt::format("{}: {}{}", who, given.note, box.evidence.empty() ? "" : fmt::format(" ({})", box.evidence));
  box.fix.clear();
  box.at = given.at;
}

std::string hostName() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return printable(name, 255);
}
}  // namespace

std::string_view name(State state) { return nameIn(kStates, state); }

std::size_t Report::count(State state) const {
  return static_cast<std::size_t>(
      std::count_if(boxes.begin(), boxes.end(), [&](const Box& box) { return box.state == state; }));
}

int Report::exitStatus() const {
  if (count(State::Failed) > 0) return info(Code::CheckFailed).exit_status;
  return count(State::CouldNotVerify) + count(State::ForAPerson) > 0 ? info(Code::CouldNotVerify).exit_status : 0;
}

Report gather(const Evidence& evidence) {
  Report report{nowMicros(),
                hostName(),
                evidence.config.text(config::key::kEnvironment),
                std::string(kVersion),
                std::string(kCommit),
                evidence.url,
                {}};
  const Facts facts(evidence);
  const auto add = [&](Box box, std::string id, std::string_view section, std::string title, std::string_view document,
                       bool of_release) {
    box.id = std::move(id);
    box.section = section;
    box.title = std::move(title);
    box.document = document;
    confirm(box, evidence, of_release);
    report.boxes.push_back(std::move(box));
  };
  for (const auto& row : boxRows()) {
    auto box = boxOf(piecesOf(row, evidence, facts));
    if (!row.command.empty()) nameCommand(box, row.command);
    add(std::move(box), std::string(row.id), row.section, std::string(row.title), row.document, row.of_release);
  }
  for (const auto& outcome : evidence.checks.outcomes) {
    const auto* own = evidence.checks.own.get();
    const bool is_own = own != nullptr && std::any_of(own->checks.begin(), own->checks.end(),
                                                      [&](const auto& check) { return &check == outcome.check; });
    if (is_own)
      add(boxOf({pieceOf(outcome)}), std::string(outcome.check->id), kOwnSection, std::string(outcome.check->title), "",
          false);
  }
  return report;
}

}  // namespace aragora::checklist
