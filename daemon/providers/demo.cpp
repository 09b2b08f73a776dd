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

class DemoProvider : public Provider {
 public:
  std::string_view name() const override { return "demo"; }

  Answer ask(const Question& question, const OnDelta& on_delta) override {
    const auto data = tryParseJson(question.user).value_or(json::object{});
    const auto& object = data.as_object();
    const auto task = jsonTextOr(object, "task", "");
    const auto choice = hashOf(question.agent + "|" + task + "|" + std::to_string(question.seed));
    Answer answer;
    answer.model = "demo";
    answer.text = say(question.phase, task, object, choice);
    answer.tokens_in = static_cast<std::int64_t>(question.user.size() / 4);
    answer.tokens_out = static_cast<std::int64_t>(answer.text.size() / 4);
    if (on_delta) on_delta(answer.text);
    return answer;
  }

 private:
  static std::string say(store::Phase phase, const std::string& task, const json::object& data, std::uint64_t choice) {
    switch (phase) {
      case store::Phase::Propose:
        return propose(task, choice);
      case store::Phase::Critique:
        return critique(data, choice);
      case store::Phase::Revise:
        return revise(data);
      case store::Phase::Vote:
        return vote(data, choice);
      case store::Phase::Synthesize:
        return synthesize(data);
    }
    return {};
  }
  static std::string propose(const std::string& task, std::uint64_t choice) {
    const auto& stance = kStances[choice % std::size(kStances)];
    return fmt::format("{} (demo answer to: {}). The reason: {}.", stance.view, printable(task, 120), stance.reason);
  }
  static std::string critique(const json::object& data, std::uint64_t choice) {
    const auto target = jsonTextOr(data, "target", "P1");
    static constexpr const char* kWeak[] = {"it names no way to tell whether it worked",
                                            "it does not say what happens when it fails",
                                            "it leaves open who decides and when"};
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
                               {"confidence", static_cast<std::int64_t>(60 + choice % 8 * 5)},
                               {"reason", "it is the easiest to check afterwards"}});
  }
  static std::string synthesize(const json::object& data) {
    return jsonTextOr(data, "winning_proposal", "No answer was reached.");
  }
};
}  // namespace

std::unique_ptr<Provider> makeDemoProvider() { return std::make_unique<DemoProvider>(); }

}  // namespace aragora::providers
