// The built-in provider: deterministic, offline, and honest about what it is. It has something to say in every phase,
// so that a newcomer sees a whole debate; its answers depend on the seat, the question and the seed alone.
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "daemon/providers/provider.h"

namespace aragora::providers {

namespace {
std::uint64_t hashOf(const std::string& text) {
  const auto digest = crypto::sha256(text);
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(digest[static_cast<std::size_t>(i)]);
  return value;
}

struct Stance {
  const char* view;
  const char* reason;
};
constexpr Stance kStances[] = {
    {"Go ahead, in small steps that can be undone", "each step shows early whether the next is worth taking"},
    {"Not yet: measure first what it would change", "without a measurement success and failure look the same"},
    {"Do the part that is needed now and leave the rest", "most of the benefit comes from the smallest useful part"},
    {"Do it once and properly", "two half solutions cost more than a whole one"},
};

constexpr const char* kWeak[] = {"it names no way to tell whether it worked",
                                 "it does not say what happens when it fails", "it leaves open who decides and when"};

class DemoProvider : public Provider {
 public:
  std::string_view name() const override { return "demo"; }

  Answer ask(const Question& question, const OnDelta& on_delta) override {
    const auto data = tryParseJson(question.user).value_or(json::object{});
    const auto& whole = data.as_object();
    // Without a boundary it is a debate of protocol 1, which an upgrade interrupted: plain texts are answered there.
    const auto* enclosed = jsonObject(whole, jsonTextOr(whole, "boundary", ""));
    const auto& object = enclosed == nullptr ? whole : *enclosed;
    const auto task = jsonTextOr(object, "task", "");
    const auto choice = hashOf(question.agent + "|" + task + "|" + std::to_string(question.seed));
    Answer answer;
    answer.model = "demo";
    answer.text = enclosed == nullptr ? sayPlainly(question.phase, task, object, choice)
                                      : say(question.phase, task, object, choice);
    answer.usage.input = static_cast<std::int64_t>(question.user.size() / 4);
    answer.usage.output = static_cast<std::int64_t>(answer.text.size() / 4);
    if (on_delta) sayInWords(answer.text, on_delta);
    return answer;
  }

 private:
  // As models do it, so that a newcomer sees how answers come.
  static void sayInWords(std::string_view text, const OnDelta& on_delta) {
    while (!text.empty()) {
      const auto end = std::min(text.find(' ', 1), text.size());
      on_delta(text.substr(0, end));
      text.remove_prefix(end);
    }
  }
  static std::string say(store::Phase phase, const std::string& task, const json::object& data, std::uint64_t choice) {
    switch (phase) {
      case store::Phase::Propose: {
        const auto& stance = kStances[choice % std::size(kStances)];
        // Seats of one stance still say each its own.
        return toJson(json::object{{"position", stance.view},
                                   {"answer", fmt::format("{} To be looked at again after {}.", propose(task, choice),
                                                          counted(1 + choice % 9973, "day"))},
                                   {"key_claims", json::array{json::string(stance.reason)}},
                                   {"confidence", confidence(choice)}});
      }
      case store::Phase::Critique:
        return critiques(data, choice);
      case store::Phase::Revise:
        return reviseFor(data, choice);
      case store::Phase::Synthesize:
        return toJson(json::object{{"answer", synthesize(data)},
                                   {"from", ofAll(data, "claims", "id")},
                                   {"open_risks", json::array{json::string(kWeak[choice % std::size(kWeak)])}},
                                   {"dissent", ofAll(data, "dissent", "text")}});
      default:
        return vote(data, choice);
    }
  }
  static std::string critiques(const json::object& data, std::uint64_t choice) {
    json::array critiques;
    const auto* proposals = jsonArray(data, "proposals");
    for (std::size_t i = 0; proposals != nullptr && i < proposals->size(); ++i) {
      const auto& proposal = proposals->at(i).as_object();
      const auto weak = hashOf(jsonTextOr(proposal, "text", "") + std::to_string(choice));
      critiques.push_back(
          json::object{{"target", proposal.at("id")},
                       {"issues", json::array{json::object{{"claim", kWeak[weak % std::size(kWeak)]},
                                                           {"severity", static_cast<std::int64_t>(weak % 3 + 1)},
                                                           {"why", "whoever follows it would have to guess"}}}},
                       {"strongest_point", "it can be acted on"}});
    }
    return toJson(json::object{{"critiques", std::move(critiques)}});
  }
  // Never so sure that nothing would be debated: a newcomer is to see a whole debate.
  static std::int64_t confidence(std::uint64_t choice) { return static_cast<std::int64_t>(45 + choice % 8 * 5); }
  static std::string reviseFor(const json::object& data, std::uint64_t choice) {
    const auto own = jsonTextOr(data, "own_proposal", "");
    const auto answer = revise(data);
    const bool kept = answer == own;
    json::array because;
    if (const auto* critiques = jsonArray(data, "critiques"); critiques != nullptr && !kept && !critiques->empty())
      because.push_back(critiques->at(0).as_object().at("id"));
    return toJson(json::object{{"decision", kept ? "keep" : "amend"},
                               {"because", std::move(because)},
                               {"adopt", ""},
                               {"position", own.substr(0, own.find(" (demo"))},
                               {"answer", answer},
                               {"key_claims", json::array{json::string(kStances[choice % std::size(kStances)].reason)}},
                               {"confidence", confidence(choice)}});
  }
  // Of each one of the list, in one sentence.
  static json::array ofAll(const json::object& data, const char* list, const char* member) {
    json::array all;
    const auto* there = jsonArray(data, list);
    for (std::size_t i = 0; there != nullptr && i < there->size(); ++i) {
      const auto text = jsonTextOr(there->at(i).as_object(), member, "");
      all.emplace_back(text.substr(0, text.find(" (demo")));
    }
    return all;
  }
  static std::string sayPlainly(store::Phase phase, const std::string& task, const json::object& data,
                                std::uint64_t choice) {
    switch (phase) {
      case store::Phase::Propose:
        return propose(task, choice);
      case store::Phase::Critique:
        return critique(data, choice);
      case store::Phase::Revise:
        return revise(data);
      case store::Phase::Vote:
        return vote(data, choice);
      default:
        return synthesize(data);
    }
  }
  static std::string propose(const std::string& task, std::uint64_t choice) {
    const auto& stance = kStances[choice % std::size(kStances)];
    return fmt::format("{} (demo answer to: {}). The reason: {}.", stance.view, printable(task, 120), stance.reason);
  }
  static std::string critique(const json::object& data, std::uint64_t choice) {
    const auto target = jsonTextOr(data, "target", "P1");
    return toJson(json::object{{"target", target},
                               {"weakness", kWeak[choice % std::size(kWeak)]},
                               {"strength", "it can be acted on"},
                               {"severity", static_cast<std::int64_t>(choice % 3 + 1)}});
  }
  static std::string revise(const json::object& data) {
    const auto own = jsonTextOr(data, "own_proposal", "");
    const auto* critiques = jsonArray(data, "critiques");
    const bool criticised = critiques != nullptr && !critiques->empty();
    static const std::string kAmendment =
        " It counts as done when a check that was agreed beforehand passes; otherwise it is undone.";
    return criticised && !endsWith(own, kAmendment) ? own + kAmendment : own;
  }
  // The proposal with the largest digest among those allowed: all seats see the same order and mostly agree.
  static std::string vote(const json::object& data, std::uint64_t choice) {
    std::string best;
    std::uint64_t best_hash = 0;
    if (const auto* proposals = jsonArray(data, "proposals")) {
      for (const auto& proposal : *proposals) {
        const auto& entry = proposal.as_object();
        const auto hash = hashOf(jsonTextOr(entry, "text", ""));
        if (best.empty() || hash > best_hash) {
          best_hash = hash;
          best = jsonTextOr(entry, "id", "");
        }
      }
    }
    return toJson(json::object{{"choice", best},
                               {"confidence", confidence(choice)},
                               {"continue", true},
                               {"reason", "it is the easiest to check afterwards"}});
  }
  static std::string synthesize(const json::object& data) {
    return jsonTextOr(data, "winning_proposal", "No answer was reached.");
  }
};
}  // namespace

std::unique_ptr<Provider> makeDemoProvider() { return std::make_unique<DemoProvider>(); }

}  // namespace aragora::providers
