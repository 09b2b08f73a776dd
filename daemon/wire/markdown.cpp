#include "common/base/text.h"
#include "common/store/report_words.h"
#include "daemon/wire/debates.h"

namespace aragora::wire {

namespace {
// What an agent wrote may hold headings of its own: as a quotation it stays apart from ours.
std::string quotation(std::string_view text) {
  std::string result;
  for (const auto& line : split(text, '\n')) result += line.empty() ? ">\n" : fmt::format("> {}\n", line);
  return result + "\n";
}

struct Paragraph {
  const store::Event& event;

  std::string operator()(const store::RoundStarted& started) const {
    return fmt::format("## Round {}: {}\n\n", event.round, store::name(started.phase));
  }
  std::string operator()(const store::AgentMessage& message) const {
    return fmt::format("**{}** ({}):\n\n{}", event.agent, store::name(message.role), quotation(message.content));
  }
  std::string operator()(const store::AudienceMessage& message) const {
    return fmt::format("**{}** (audience):\n\n{}", message.author, quotation(message.content));
  }
  std::string operator()(const store::Critique& critique) const {
    return fmt::format("**{}** on {} (severity {} of 5):\n\n{}", event.agent, critique.target, critique.severity,
                       quotation(critique.weakness));
  }
  std::string operator()(const store::Vote& vote) const {
    return fmt::format("**{}** votes for {} ({} %):\n\n{}", event.agent,
                       vote.choice.empty() ? std::string("nobody") : vote.choice, vote.confidence,
                       quotation(vote.reason));
  }
  std::string operator()(const store::AgentError& error) const {
    return fmt::format("**{}** failed ({}):\n\n{}", event.agent, store::name(error.phase), quotation(error.message));
  }
  std::string operator()(const store::Synthesis& synthesis) const {
    return listed("leaves open", synthesis.open_risks) + listed("says that others held", synthesis.dissent);
  }
  std::string listed(std::string_view what, const std::vector<std::string>& texts) const {
    std::string text;
    for (const auto& one : texts) text += quotation(one);
    return text.empty() ? text : fmt::format("**{}** {}:\n\n{}", event.agent, what, text);
  }
  template <typename Other>
  std::string operator()(const Other&) const {
    return {};
  }
};
json::object reportIn(const std::vector<store::Event>& events) {
  for (const auto& event : events) {
    if (const auto* report = std::get_if<store::Report>(&event.body)) return report->content;
  }
  return {};
}

// Each model once, as "provider:model".
std::string whoAnswered(const json::object& report) {
  std::set<std::string> models;
  const auto* served = jsonArray(report, "served_by");
  for (const auto& one : served != nullptr ? *served : json::array()) {
    const auto& by = one.as_object();
    models.insert(jsonTextOr(by, "provider", "") + ":" + jsonTextOr(by, "model", ""));
  }
  return join({models.begin(), models.end()}, ", ");
}

std::string dissentIn(const json::object& report) {
  std::string text;
  const auto* minority = jsonArray(report, "minority");
  for (const auto& one : minority != nullptr ? *minority : json::array()) {
    const auto& proposal = one.as_object();
    std::vector<std::string> seats;
    for (const auto& seat : proposal.at("seats").as_array()) seats.emplace_back(seat.as_string());
    text += fmt::format("**{}** ({}):\n\n{}", join(seats, ", "), counted(jsonIntegerOr(proposal, "votes", 0), "vote"),
                        quotation(jsonTextOr(proposal, "text", "")));
  }
  return text.empty() ? text : "## Dissent\n\n" + text;
}
}  // namespace

std::string renderMarkdown(const store::Debate& debate, const std::vector<store::Event>& events, Picos cost) {
  auto text = fmt::format("# Debate {}\n\n{}", debate.id, quotation(debate.task));
  if (!debate.context.empty()) text += fmt::format("Context:\n\n{}", quotation(debate.context));
  text += fmt::format("- status: {}\n- agents: {}\n- rounds: {} of {}\n- created: {}\n", store::name(debate.status),
                      join(debate.agents, ", "), debate.rounds_used, debate.rounds, toIso(debate.created_at));
  if (debate.completed_at) text += fmt::format("- completed: {}\n", toIso(*debate.completed_at));
  if (debate.consensus_reached)
    text += fmt::format("- consensus: {}, confidence {:.2f}\n", *debate.consensus_reached ? "reached" : "not reached",
                        debate.confidence);
  const auto report = reportIn(events);
  if (const auto answered = whoAnswered(report); !answered.empty())
    text += fmt::format("- answered by: {}\n", answered);
  if (debate.finished()) text += fmt::format("- cost: {} USD\n", toUsd(cost));
  text += '\n';
  for (const auto& event : events) text += std::visit(Paragraph{event}, event.body);
  if (!debate.final_answer.empty()) text += "## Answer\n\n" + quotation(debate.final_answer);
  text += dissentIn(report);
  if (const auto words = store::reportInWords(report); !words.empty())
    text += "## What came of debating\n\n" + join(words, "\n") + "\n";
  return text;
}

}  // namespace aragora::wire
