#include "daemon/providers/sim.h"

#include <charconv>
#include <thread>

#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "daemon/providers/failure.h"
#include "daemon/providers/provider.h"

namespace aragora::providers {

namespace {
constexpr std::int64_t kMillion = 1'000'000;
constexpr std::string_view kRight = "The answer is A.";
constexpr std::string_view kWrong = "The answer is B.";

std::optional<std::int64_t> number(std::string_view text, std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > most) return std::nullopt;
  return value;
}

// "0.7", ".25", "1": in millionths.
std::optional<std::int64_t> probability(std::string_view text) {
  const auto point = text.find('.');
  const auto digits = point == std::string_view::npos ? std::string_view() : text.substr(point + 1);
  const auto whole = text.substr(0, point);
  if (digits.size() > 6 || whole.size() > 1 || (whole.empty() && digits.empty())) return std::nullopt;
  auto scaled = std::string(whole.empty() ? "0" : whole) + std::string(digits);
  scaled.append(6 - digits.size(), '0');
  return number(scaled, kMillion);
}

bool take(Simulated& simulated, std::string_view name, std::string_view text) {
  const auto into = [](std::int64_t& member, std::optional<std::int64_t> value) {
    if (value) member = *value;
    return value.has_value();
  };
  if (name == "p") return into(simulated.right, probability(text));
  if (name == "c") return into(simulated.conformity, probability(text));
  if (name == "fail") return into(simulated.failure, probability(text));
  if (name == "seed") return into(simulated.seed, number(text, INT64_MAX));
  if (name == "latency") return into(simulated.latency_ms, number(text, 600'000));
  if (name == "tokens") return into(simulated.tokens, number(text, 100'000));
  if (name == "confidence") return into(simulated.confidence, number(text, 100));
  return false;
}

json::object materialOf(const Question& question) {
  const auto value = tryParseJson(question.user).value_or(nullptr);
  if (!value.is_object()) return {};
  const auto* inner = jsonObject(value.get_object(), jsonTextOr(value.get_object(), "boundary", ""));
  return inner == nullptr ? value.get_object() : *inner;
}

std::vector<json::object> proposalsOf(const json::object& material) {
  std::vector<json::object> proposals;
  if (const auto* list = jsonArray(material, "proposals")) {
    for (const auto& element : *list) {
      if (element.is_object()) proposals.push_back(element.get_object());
    }
  }
  return proposals;
}

bool happens(const Simulated& simulated, const Question& question, const std::string& what, std::int64_t millionths) {
  const auto digest = crypto::sha256(fmt::format("{}|{}|{}|{}", simulated.seed, question.seed, question.agent, what));
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 7; ++i) value = value << 8U | static_cast<unsigned char>(digest[i]);
  return static_cast<std::int64_t>(value % static_cast<std::uint64_t>(kMillion)) < millionths;
}

void pause(const Simulated& simulated, const Question& question) {
  const auto until = std::min(question.deadline, deadlineIn(std::chrono::milliseconds(simulated.latency_ms)));
  while (remaining(until).count() > 0) {
    if (question.stop.stop_requested()) throw Failure(FailureKind::Stopped, "stopped");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (remaining(question.deadline).count() == 0) throw Failure(FailureKind::Timeout, "no answer in time");
}

std::string critiques(const json::object& material) {
  json::array critiques;
  for (const auto& proposal : proposalsOf(material))
    critiques.push_back(json::object{
        {"target", proposal.at("id")},
        {"issues", json::array{json::object{{"claim", "it may be wrong"}, {"severity", 2}, {"why", "simulated"}}}},
        {"strongest_point", "it is short"}});
  return toJson(json::object{{"critiques", std::move(critiques)}});
}

std::string revision(const json::object& material, bool follows, std::int64_t confidence) {
  const auto own = jsonTextOr(material, "own_proposal", "");
  const auto proposals = proposalsOf(material);
  follows = follows && !proposals.empty();
  return toJson(json::object{{"decision", follows ? "adopt" : "keep"},
                             {"because", json::array{}},
                             {"adopt", follows ? proposals.front().at("id") : json::value("")},
                             {"position", own},
                             {"answer", own},
                             {"confidence", confidence}});
}

// The proposal that says what it believes itself.
std::string ballot(const json::object& material, const std::string& belief, std::int64_t confidence) {
  std::string choice = "abstain";
  for (const auto& proposal : proposalsOf(material)) {
    if (jsonTextOr(proposal, "text", "") == belief) choice = jsonTextOr(proposal, "id", choice);
  }
  return toJson(json::object{
      {"choice", choice}, {"confidence", confidence}, {"continue", true}, {"reason", "it is what I hold for right"}});
}

std::string say(const Simulated& simulated, const Question& question, const std::string& place) {
  const auto material = materialOf(question);
  const std::string belief(happens(simulated, question, "belief", simulated.right) ? kRight : kWrong);
  switch (question.phase) {
    case store::Phase::Propose:
      return toJson(json::object{{"position", belief},
                                 {"answer", belief},
                                 {"key_claims", json::array{}},
                                 {"confidence", simulated.confidence}});
    case store::Phase::Critique:
      return critiques(material);
    case store::Phase::Revise:
      return revision(material, happens(simulated, question, "conformity|" + place, simulated.conformity),
                      simulated.confidence);
    case store::Phase::Synthesize:
      return toJson(json::object{{"answer", jsonTextOr(material, "winning_proposal", belief)},
                                 {"from", json::array{}},
                                 {"open_risks", json::array{}},
                                 {"dissent", json::array{}}});
    default:
      return ballot(material, belief, simulated.confidence);
  }
}

class SimProvider : public Provider {
 public:
  std::string_view name() const override { return "sim"; }

  Answer ask(const Question& question, const OnDelta& on_delta) override {
    std::string why;
    const auto simulated = parseSimulated(question.model, why);
    if (!simulated) throw Failure(FailureKind::Request, why);
    pause(*simulated, question);
    // The instructions differ from place to place.
    const auto place = crypto::sha256Hex(question.system);
    if (happens(*simulated, question, "failure|" + place, simulated->failure))
      throw Failure(FailureKind::Server, "the simulated provider failed, as it was asked to");
    Answer answer;
    answer.model = "sim";
    answer.provider = "sim";
    answer.text = say(*simulated, question, place);
    answer.usage.input = static_cast<std::int64_t>(question.user.size() / 4);
    answer.usage.output = simulated->tokens > 0 ? simulated->tokens : static_cast<std::int64_t>(answer.text.size() / 4);
    answer.usage_known = true;
    if (on_delta) on_delta(answer.text);
    return answer;
  }
};
}  // namespace

std::optional<Simulated> parseSimulated(std::string_view text, std::string& why) {
  Simulated simulated;
  while (!text.empty()) {
    const auto end = text.find_first_of(",;");
    const auto part = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const auto equals = part.find('=');
    if (equals == std::string_view::npos || !take(simulated, part.substr(0, equals), part.substr(equals + 1))) {
      why = fmt::format(
          "'{}' says nothing that a simulated agent knows (p, c and fail from 0 to 1, seed, latency, tokens, "
          "confidence)",
          printable(part, 40));
      return std::nullopt;
    }
  }
  return simulated;
}

std::unique_ptr<Provider> makeSimProvider() { return std::make_unique<SimProvider>(); }

}  // namespace aragora::providers
