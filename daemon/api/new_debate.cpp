#include "daemon/api/new_debate.h"

#include "common/base/text.h"
#include "daemon/debate/consensus.h"

namespace aragora::api {

namespace {
constexpr std::size_t kMaxTask = 100'000;
constexpr std::size_t kMaxContext = 100'000;
constexpr std::size_t kMaxAgents = 10;

// Code points of UTF-8.
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// Collects every field error of a body, so that a client sees all of them at once.
class Fields {
 public:
  explicit Fields(const json::object& body) : body_(body) {}
  void fail(std::string_view field, std::string message) {
    errors_.push_back(json::object{{"field", field}, {"message", std::move(message)}});
  }

  std::string text(std::string_view field, std::size_t limit) {
    const auto* value = body_.if_contains(field);
    if (value == nullptr || value->is_null()) return {};
    if (!value->is_string()) return fail(field, "must be a text"), std::string();
    std::string text(value->get_string());
    if (const auto length = characters(text); length > limit)
      fail(field, fmt::format("has {}, {} are allowed", counted(length, "character"), limit));
    if (text.find('\0') != std::string::npos) fail(field, "must not contain NUL");
    return text;
  }

  const json::object* object(std::string_view field) {
    const auto* value = body_.if_contains(field);
    if (value == nullptr || value->is_null()) return nullptr;
    if (!value->is_object()) fail(field, "must be an object");
    return value->if_object();
  }

  std::int64_t integer(std::string_view field, std::int64_t fallback, std::int64_t minimum, std::int64_t maximum) {
    const auto* value = body_.if_contains(field);
    if (value == nullptr || value->is_null()) return fallback;
    const auto number = jsonInteger(body_, field);
    if (!number || *number < minimum || *number > maximum)
      return fail(field, fmt::format("must be a whole number from {} to {}", minimum, maximum)), fallback;
    return *number;
  }

  void raise() const {
    if (errors_.empty()) return;
    std::vector<std::string> texts;
    for (const auto& error : errors_)
      texts.push_back(fmt::format("{} {}", std::string(error.at("field").as_string()),
                                  std::string(error.at("message").as_string())));
    throw Error(Code::Validation, join(texts, "; "), "see /api/openapi.json").with(errors_);
  }

 private:
  const json::object& body_;
  json::array errors_;
};

// A list of names, a comma list, or objects with a name; the clients use all three.
std::vector<std::string> agentsOf(const json::object& body, const Services& services, Fields& fields) {
  const auto* value = body.if_contains("agents");
  if (value == nullptr || value->is_null()) return services.providers.defaultAgents();
  std::vector<std::string> agents;
  if (value->is_string()) {
    agents = split(value->get_string(), ',');
  } else if (value->is_array()) {
    for (const auto& element : value->get_array()) {
      if (element.is_string())
        agents.emplace_back(element.get_string());
      else if (element.is_object())
        agents.push_back(jsonTextOr(element.get_object(), "name", jsonTextOr(element.get_object(), "provider", "")));
      else
        fields.fail("agents", "must hold names or objects with a name");
    }
  } else {
    fields.fail("agents", "must be a list");
  }
  if (agents.empty()) return services.providers.defaultAgents();
  return agents;
}

std::string whyNot(const std::string& consensus) {
  constexpr std::string_view kKnown = "majority, supermajority, unanimous, any";
  if (consensus == "judge" || consensus == "weighted")
    return fmt::format("'{}' is not offered by this version, which has no {}; it has {}", consensus,
                       consensus == "judge" ? "agent that judges" : "weights of agents", kKnown);
  return fmt::format("'{}' is not one of {}", printable(consensus, 40), kKnown);
}
}  // namespace

store::Debate parseDebate(const json::object& body, const Services& services) {
  Fields fields(body);
  store::Debate debate;
  debate.task = fields.text("task", kMaxTask);
  for (const auto* other : {"question", "topic"})
    if (auto text = fields.text(other, kMaxTask); debate.task.empty()) debate.task = std::move(text);
  if (trim(debate.task).empty()) fields.fail("task", "is required");
  debate.context = fields.text("context", kMaxContext);
  const auto* protocol = fields.object("protocol");
  const auto asked =
      body.if_contains("rounds") == nullptr && protocol != nullptr ? jsonIntegerOr(*protocol, "rounds", 2) : 2;
  const auto max_rounds = services.options.max_rounds;
  debate.rounds = fields.integer("rounds", std::clamp<std::int64_t>(asked, 0, max_rounds), 0, max_rounds);
  debate.consensus_kind = fields.text("consensus", 64);
  if (debate.consensus_kind.empty())
    debate.consensus_kind = protocol != nullptr ? jsonTextOr(*protocol, "consensus", "majority") : "majority";
  if (!debate::parseConsensusKind(debate.consensus_kind)) fields.fail("consensus", whyNot(debate.consensus_kind));
  debate.agents = agentsOf(body, services, fields);
  if (debate.agents.size() < 2 || debate.agents.size() > kMaxAgents)
    fields.fail("agents", fmt::format("must name 2 to {} agents", kMaxAgents));
  for (const auto& agent : debate.agents) {
    std::string why;
    if (agent.find('#') != std::string::npos)  // numbers the seats of an agent that is named several times
      why = "a name has no '#'";
    if (!why.empty() || agent.size() > 100 || printable(agent) != agent || !services.providers.find(agent, why))
      fields.fail("agents",
                  fmt::format("'{}' cannot take part: {}", printable(agent, 60), why.empty() ? "not a name" : why));
  }
  if (const auto* metadata = body.if_contains("metadata"); metadata != nullptr && !metadata->is_null()) {
    if (!metadata->is_object() || toJson(*metadata).size() > 16 * 1024)
      fields.fail("metadata", "must be an object of at most 16 KiB");
    else
      debate.metadata = toJson(*metadata);
  }
  fields.raise();
  return debate;
}

}  // namespace aragora::api
