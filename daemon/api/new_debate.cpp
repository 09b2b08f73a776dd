#include "daemon/api/new_debate.h"

#include "common/base/money.h"
#include "common/base/text.h"
#include "common/ratings/match.h"
#include "daemon/api/allowed_models.h"
#include "daemon/debate/options.h"

namespace aragora::api {

namespace {
constexpr std::size_t kMaxTask = 100'000;
constexpr std::size_t kMaxContext = 100'000;
constexpr std::size_t kMaxAgents = 10;
constexpr std::int64_t kMostRoundsAsked = 20;

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

  bool flag(std::string_view field) {
    const auto* value = body_.if_contains(field);
    if (value != nullptr && !value->is_bool() && !value->is_null()) fail(field, "must be true or false");
    return jsonFlagOr(body_, field, false);
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

constexpr std::size_t kMaxRole = 200;
constexpr std::int64_t kMaxWeight = 1'000'000;
constexpr std::size_t kMaxDocuments = 10;
constexpr std::size_t kMaxDocumentCharacters = 200'000;  // of all of them
constexpr std::int64_t kLongestDeadline = 86'400;

struct AskedAgent {
  std::string name;
  debate::Options::OfSeat seat{};
};

// {"name" or "provider", "model", "role", "weight"}.
AskedAgent agentOf(const json::object& object, Fields& fields) {
  AskedAgent agent{jsonTextOr(object, "name", jsonTextOr(object, "provider", "")), {}};
  const auto model = jsonTextOr(object, "model", "");
  if (!model.empty() && agent.name.find(':') == std::string::npos)
    agent.name += (agent.name == "openrouter" ? "/" : ":") + model;
  agent.seat.role = jsonTextOr(object, "role", "");
  if (characters(agent.seat.role) > kMaxRole)
    fields.fail("agents", fmt::format("has a role of more than {}", counted(kMaxRole, "character")));
  if (const auto* weight = object.if_contains("weight"); weight != nullptr && !weight->is_null()) {
    agent.seat.weight = jsonIntegerOr(object, "weight", 0);
    if (agent.seat.weight < 1 || agent.seat.weight > kMaxWeight)
      fields.fail("agents", fmt::format("has a weight that is no whole number from 1 to {}", kMaxWeight));
  }
  return agent;
}

// A list of names, a comma list, or objects with a name; the clients use all three.
std::vector<AskedAgent> agentsOf(const json::object& body, const Services& services, Fields& fields) {
  std::vector<AskedAgent> agents;
  const auto* value = body.if_contains("agents");
  if (value != nullptr && value->is_string()) {
    for (auto& name : split(value->get_string(), ',')) agents.push_back({std::move(name), {}});
  } else if (value != nullptr && value->is_array()) {
    for (const auto& element : value->get_array()) {
      if (element.is_string())
        agents.push_back({std::string(element.get_string()), {}});
      else if (element.is_object())
        agents.push_back(agentOf(element.get_object(), fields));
      else
        fields.fail("agents", "must hold names or objects with a name");
    }
  } else if (value != nullptr && !value->is_null()) {
    fields.fail("agents", "must be a list");
  }
  if (agents.empty()) {
    for (auto& name : services.providers.defaultAgents()) agents.push_back({std::move(name), {}});
  }
  return agents;
}

void requireSpeaker(std::string_view field, const std::string& agent, const Services& services, Fields& fields) {
  std::string why;
  if (agent.find('#') != std::string::npos)  // numbers the seats of an agent that is named several times
    why = "a name has no '#'";
  if (!why.empty() || agent.size() > 100 || printable(agent) != agent || !services.providers.find(agent, why))
    fields.fail(field,
                fmt::format("'{}' cannot take part: {}", printable(agent, 60), why.empty() ? "not a name" : why));
}

// A share of 1: "2/3", 0.5, "0.5", 1.
debate::Share shareOf(const json::object& object, std::string_view field, debate::Share usual, Fields& fields) {
  const auto* value = object.if_contains(field);
  if (value == nullptr || value->is_null()) return usual;
  const auto text = value->is_string()   ? std::string(value->get_string())
                    : value->is_double() ? fmt::format("{}", value->get_double())
                                         : toJson(*value);
  const auto share = debate::parseShare(text);
  if (!share) fields.fail(field, R"(must be a share of 1 such as "2/3" or 0.5)");
  return share.value_or(usual);
}

// A name, or an object with `kind` (or `type`), `quorum`, `threshold`, `allow_absent` and `judge`.
void readConsensus(const json::object& body, store::Debate& debate, debate::Options& options, Fields& fields) {
  const auto* value = body.if_contains("consensus");
  const auto* detailed = value == nullptr ? nullptr : value->if_object();
  const auto& object = detailed == nullptr ? body : *detailed;
  std::string kind = "majority";
  const auto* protocol = jsonObject(body, "protocol");
  if (detailed != nullptr)
    kind = jsonTextOr(object, "kind", jsonTextOr(object, "type", kind));
  else if (auto asked = fields.text("consensus", 64); !asked.empty())
    kind = asked;
  else if (protocol != nullptr)
    kind = jsonTextOr(*protocol, "consensus", kind);
  const auto known = debate::parseConsensusKind(kind);
  if (!known)
    fields.fail("consensus", fmt::format("'{}' is not one of {}", printable(kind, 40), debate::consensusKinds()));
  debate.consensus_kind = std::string(debate::name(known.value_or(debate::ConsensusKind::Majority)));
  options.quorum = shareOf(object, "quorum", options.quorum, fields);
  options.share = shareOf(object, "threshold", options.share, fields);
  const auto* absent = object.if_contains("allow_absent");
  if (absent != nullptr && !absent->is_bool() && !absent->is_null())
    fields.fail("allow_absent", "must be true or false");
  options.allow_absent = jsonFlagOr(object, "allow_absent", false);
  const auto* judge = object.if_contains("judge");
  if (judge != nullptr && !judge->is_string() && !judge->is_null())
    fields.fail("judge", "must be the name of an agent");
  options.judge = jsonTextOr(object, "judge", "");
}

// How far what an agent is told goes.
enum class Reach { Process, House, Internet };
Reach reachOf(const providers::Providers::Seat& seat) {
  const auto name = seat.provider->name();
  if (name == "demo" || name == "sim") return Reach::Process;
  return name == "local" ? Reach::House : Reach::Internet;
}

// Whoever is asked for, otherwise whom the caller may ask and could pay.
void chooseJudge(const store::Debate& debate, debate::Options& options, const accounts::Principal& principal,
                 const Services& services, Fields& fields) {
  if (debate.consensus_kind != debate::name(debate::ConsensusKind::Judge)) {
    options.judge.clear();
    return;
  }
  if (options.judge.empty()) {
    options.judge = judgeBeside(debate.agents, services.providers, [&](const providers::Providers::Seat& seat) {
      return mayAsk(principal, seat, services) &&
             services.spending.whyUnpriced(debate, seat.provider->name(), seat.model).empty();
    });
    return;
  }
  requireSpeaker("judge", options.judge, services, fields);
  if (std::find(debate.agents.begin(), debate.agents.end(), options.judge) != debate.agents.end())
    fields.fail("judge", "has a seat, and would judge its own proposal");
}

// Nobody would be asked: told here, not by a debate that fails.
void requirePrices(const store::Debate& debate, const std::string& judge, const Services& services) {
  auto asked = debate.agents;
  if (!judge.empty()) asked.push_back(judge);
  std::set<std::string> unpriced;
  for (const auto& agent : asked) {
    std::string why;
    const auto seat = services.providers.find(agent, why);
    if (!seat) continue;
    if (auto lacks = services.spending.whyUnpriced(debate, seat->provider->name(), seat->model); !lacks.empty())
      unpriced.insert(std::move(lacks));
  }
  if (!unpriced.empty())
    throw Error(Code::Unprocessable, join({unpriced.begin(), unpriced.end()}, "; "),
                "what it costs is asked for at its provider; the file is the setting models.file");
}

// US dollars, as a decimal text or a number: "0.25", 0.25, 2.
std::optional<Picos> budgetOf(const json::object& body, Fields& fields) {
  for (const std::string_view field : {"budget_usd", "budget_limit_usd"}) {
    const auto* value = body.if_contains(field);
    if (value == nullptr || value->is_null()) continue;
    const auto text = value->is_string()   ? std::string(value->get_string())
                      : value->is_double() ? fmt::format("{}", value->get_double())
                                           : toJson(*value);
    if (const auto amount = parseUsd(text); amount && *amount > 0) return amount;
    fields.fail(field, "must be an amount of US dollars above 0, such as \"0.50\", with at most 12 decimals");
  }
  return std::nullopt;
}

// Texts, or objects with a text (or content) and a title.
std::vector<std::string> documentsOf(const json::object& body, Fields& fields) {
  std::vector<std::string> documents;
  const auto* value = body.if_contains("documents");
  if (value == nullptr || value->is_null()) return documents;
  if (!value->is_array() || value->get_array().size() > kMaxDocuments)
    return fields.fail("documents", fmt::format("must be a list of at most {}", kMaxDocuments)), documents;
  std::size_t length = 0;
  for (const auto& element : value->get_array()) {
    std::string text;
    if (element.is_string()) {
      text = std::string(element.get_string());
    } else if (const auto* object = element.if_object()) {
      text = jsonTextOr(*object, "text", jsonTextOr(*object, "content", ""));
      if (const auto title = jsonTextOr(*object, "title", ""); !title.empty() && !text.empty())
        text = title + "\n\n" + text;
    }
    if (text.empty() || text.find('\0') != std::string::npos)
      return fields.fail("documents", "must hold texts, or objects with a text"), documents;
    length += characters(text);
    documents.push_back(std::move(text));
  }
  if (length > kMaxDocumentCharacters)
    fields.fail("documents", fmt::format("have {}, {} are allowed for all of them", counted(length, "character"),
                                         kMaxDocumentCharacters));
  return documents;
}
// What it is about, for ratings of its own: beside the other fields, or in the metadata, where it is kept.
void takeDomain(store::Debate& debate, Fields& fields, const std::string& asked) {
  auto value = tryParseJson(debate.metadata).value_or(json::object{});
  auto& metadata = value.as_object();
  const auto there = jsonTextOr(metadata, "domain", "");
  const auto domain = ratings::readDomain(asked.empty() ? there : asked);
  constexpr std::string_view kWhat = "must be at most 48 of a-z, 0-9, '-', '_' and '.'";
  if (!domain) return fields.fail(asked.empty() ? "metadata.domain" : "domain", std::string(kWhat));
  if (domain->empty()) return;
  metadata["domain"] = *domain;
  debate.metadata = toJson(metadata);
}
}  // namespace

std::string judgeBeside(const std::vector<std::string>& seats, const providers::Providers& providers,
                        const std::function<bool(const providers::Providers::Seat&)>& suits) {
  std::set<std::pair<std::string, std::string>> seated;
  auto farthest = Reach::Process;
  std::string why;
  for (const auto& agent : seats) {
    const auto seat = providers.find(agent, why);
    if (!seat) continue;
    seated.emplace(seat->provider->name(), seat->model);
    farthest = std::max(farthest, reachOf(*seat));
  }
  auto candidates = providers.defaultAgents();
  for (const auto& listing : providers.available()) candidates.push_back(listing.agent);
  for (const auto& agent : candidates) {
    const auto seat = providers.find(agent, why);
    if (!seat || seat->model.empty() || reachOf(*seat) > farthest) continue;
    if (reachOf(*seat) == Reach::Process && farthest != Reach::Process) continue;  // it understands nothing
    if (seated.count({std::string(seat->provider->name()), seat->model}) == 0 && suits(*seat)) return agent;
  }
  return {};
}

store::Debate parseDebate(const json::object& body, const web::Request& request, const Services& services) {
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
  // Clients that were written for many rounds get what there is.
  debate.rounds = std::min(
      max_rounds, fields.integer("rounds", std::clamp<std::int64_t>(asked, 0, kMostRoundsAsked), 0, kMostRoundsAsked));
  debate::Options options;
  readConsensus(body, debate, options, fields);
  for (auto& agent : agentsOf(body, services, fields)) {
    debate.agents.push_back(std::move(agent.name));
    options.seats.push_back(std::move(agent.seat));
  }
  if (debate.agents.size() < 2 || debate.agents.size() > kMaxAgents)
    fields.fail("agents", fmt::format("must name 2 to {} agents", kMaxAgents));
  for (const auto& agent : debate.agents) requireSpeaker("agents", agent, services, fields);
  debate.budget = budgetOf(body, fields);
  chooseJudge(debate, options, request.principal, services, fields);
  debate.documents = documentsOf(body, fields);
  const auto orders = fields.text("gives_orders", 16);
  if (!orders.empty() && orders != debate::kMark && orders != debate::kExclude)
    fields.fail("gives_orders", fmt::format("must be {} or {}", debate::kMark, debate::kExclude));
  options.exclude_orders = orders == debate::kExclude;
  options.stop_when_steady = fields.flag("stop_when_steady");
  options.deadline_seconds = fields.integer("deadline_seconds", 0, 5, kLongestDeadline);
  debate.options = toJson(debate::toJsonObject(options));
  if (const auto* metadata = body.if_contains("metadata"); metadata != nullptr && !metadata->is_null()) {
    if (!metadata->is_object() || toJson(*metadata).size() > 16 * 1024)
      fields.fail("metadata", "must be an object of at most 16 KiB");
    else
      debate.metadata = toJson(*metadata);
  }
  takeDomain(debate, fields, fields.text("domain", 48));
  fields.raise();
  requireAllowedModels(debate, request, services);
  requirePrices(debate, options.judge, services);
  return debate;
}

}  // namespace aragora::api
