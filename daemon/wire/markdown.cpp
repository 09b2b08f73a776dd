#include "common/base/text.h"
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
}  // namespace

std::string renderMarkdown(const store::Debate& debate, const std::vector<store::Event>& events) {
  auto text = fmt::format("# Debate {}\n\n{}", debate.id, quotation(debate.task));
  if (!debate.context.empty()) text += fmt::format("Context:\n\n{}", quotation(debate.context));
  text += fmt::format("- status: {}\n- agents: {}\n- rounds: {} of {}\n- created: {}\n", store::name(debate.status),
                      join(debate.agents, ", "), debate.rounds_used, debate.rounds, toIso(debate.created_at));
  if (debate.completed_at) text += fmt::format("- completed: {}\n", toIso(*debate.completed_at));
  if (debate.consensus_reached)
    text += fmt::format("- consensus: {}, confidence {:.2f}\n", *debate.consensus_reached ? "reached" : "not reached",
                        debate.confidence);
  text += '\n';
  for (const auto& event : events) text += std::visit(Paragraph{event}, event.body);
  if (!debate.final_answer.empty()) text += "## Answer\n\n" + quotation(debate.final_answer);
  return text;
}

}  // namespace aragora::wire
