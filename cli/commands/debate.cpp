#include "cli/commands/debate.h"

#include "cli/commands/commands.h"
#include "cli/debate_feed.h"
#include "cli/output/debate_view.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/store/report_words.h"

namespace aragora::cli {

namespace {
constexpr std::size_t kLongestWord = 24;

// One word is a subcommand that was mistyped: no question has one.
std::string requireQuestion(const DebateOptions& options) {
  const std::string question(trim(options.question.value_or("")));
  if (question.empty()) throw Error(Code::Usage, "the question is missing", "write: aragora debate \"Should we …?\"");
  if (question.find_first_of(" \t\n") != std::string::npos || question.size() > kLongestWord) return question;
  static const std::vector<std::string> kSubcommands{"show", "list", "cancel", "export", "replay"};
  const auto close = nearest(question, kSubcommands);
  throw Error(Code::Usage, fmt::format("aragora debate has no subcommand '{}'", printable(question, 60)),
              close ? "did you mean aragora debate " + *close + "?"
                    : "a question has several words, in quotes; see: aragora debate --help");
}

json::object requestOf(const DebateOptions& options) {
  json::object body{{"task", requireQuestion(options)}};
  if (!options.agents.empty()) body["agents"] = json::array(options.agents.begin(), options.agents.end());
  if (options.rounds) body["rounds"] = *options.rounds;
  if (options.consensus) body["consensus"] = *options.consensus;
  return body;
}

void cancelNow(const Output& out, const probe::Site& site, const std::string& id) {
  const interrupt::Shield shield;
  try {
    expectObject(site.ask("POST", "/api/debates/" + id + "/cancel", probe::As::Caller), "the cancellation");
    interrupt::removed("the debate, which is cancelled");
  } catch (const Error& error) {
    out.note(fmt::format("! the debate could not be cancelled: {}", error.what()));
  }
}

int create(Context& context, const DebateOptions& options) {
  if (options.test) return testDebate(context, options);
  const auto body = requestOf(options);
  const auto& out = context.out();
  const probe::Site site(siteOf(context, options.where));
  // Should the answer be lost, asking again under the same key makes no second debate.
  const auto made = expectObject(
      site.ask("POST", "/api/debates", probe::As::Caller, {{"Idempotency-Key", newUlid()}}, body), "the new debate");
  const auto id = jsonTextOr(made, "debate_id", "");
  if (!options.detach) {
    out.note(fmt::format("debate {}", printable(id, 60)));
    return followDebate(context, site, id, options);
  }
  out.line(printable(id, 60));
  out.document({{"debate", made}});
  return 0;
}
// Who was not convinced, and what debating was good for.
void printReport(const Output& out, const json::object& report) {
  const auto* minority = jsonArray(report, "minority");
  for (const auto& one : minority != nullptr ? *minority : json::array()) {
    if (!one.is_object()) continue;
    const auto& proposal = one.get_object();
    if (jsonIntegerOr(proposal, "votes", 0) == 0) continue;  // nobody stands by it
    std::vector<std::string> seats;
    if (const auto* names = jsonArray(proposal, "seats")) {
      for (const auto& name : *names)
        if (name.is_string()) seats.emplace_back(name.get_string());
    }
    out.marked(Mark::Info, fmt::format("dissent of {} ({}): {}", printable(join(seats, ", "), 200),
                                       counted(jsonIntegerOr(proposal, "votes", 0), "vote"),
                                       printable(replaceAll(jsonTextOr(proposal, "text", ""), "\n", " "), 200)));
  }
  for (const auto& sentence : store::reportInWords(report)) out.marked(Mark::Info, printable(sentence, 400));
}
}  // namespace

std::string requireDebateId(const DebateOptions& options) {
  if (options.question)
    throw Error(Code::Usage, "there is a word too many", "one debate at a time; a question stands alone");
  if (!options.id) throw Error(Code::Usage, "the id of the debate is missing", "see: aragora debate list");
  return net::percentEncoded(*options.id);
}

int exitStatusOf(const json::object& debate) {
  if (jsonTextOr(debate, "status", "") != "completed") return info(Code::Unreachable).exit_status;
  return jsonFlagOr(debate, "consensus_reached", false) ? 0 : info(Code::CheckFailed).exit_status;
}

void printDebate(const Output& out, const json::object& debate) {
  const auto status = printable(jsonTextOr(debate, "status", ""), 40);
  const auto answer = jsonTextOr(debate, "final_answer", "");
  if (!answer.empty()) out.line(fmt::format("\n{}\n", printable(answer, 100'000)));
  const auto rounds = counted(jsonIntegerOr(debate, "rounds_used", 0), "round");
  const auto kind = printable(jsonTextOr(debate, "consensus_kind", ""), 40);
  if (jsonFlagOr(debate, "in_progress", false)) {
    out.marked(Mark::Info, fmt::format("{}: {}", status, printable(jsonTextOr(debate, "task", ""), 200)));
    if (const auto* rest = jsonObject(debate, "paused")) out.marked(Mark::Warning, restInWords(*rest));
  } else if (status != "completed") {
    out.marked(
        Mark::Failure,
        fmt::format("the debate is {}: {}", status,
                    printable(jsonTextOr(debate, "error", jsonTextOr(debate, "outcome", "no reason given")), 1000)));
  } else if (jsonFlagOr(debate, "consensus_reached", false)) {
    out.marked(Mark::Ok, fmt::format("consensus ({}) with confidence {:.2f} after {}", kind,
                                     jsonNumberOr(debate, "confidence", 0), rounds));
  } else {
    out.marked(Mark::Warning, fmt::format("no consensus ({}) after {}", kind, rounds));
  }
  if (const auto* report = jsonObject(debate, "report")) printReport(out, *report);
  out.document({{"debate", debate}, {"exit_status", exitStatusOf(debate)}});
}

int followDebate(Context& context, const probe::Site& site, const std::string& id, const DebateOptions& options) {
  const auto& out = context.out();
  const interrupt::Obligation unwinds([] {});  // a signal ends the waits
  try {
    std::optional<DebateView> view;
    if (options.watch) view.emplace(out);
    DebateFeed feed(site, id);
    std::string rested;  // told: it rests again and again for the same reason
    feed.follow([&](const json::object& frame) {
      if (view) return view->show(frame);
      const auto* data = jsonObject(frame, "data");
      if (data == nullptr || jsonTextOr(frame, "type", "") != "debate_paused") return;
      auto words = restInWords(*data);
      if (words != rested) out.note(words);
      rested = std::move(words);
    });
    view.reset();
    const auto debate = expectObject(site.get("/api/debates/" + id, probe::As::Caller), "the debate");
    printDebate(out, debate);
    return exitStatusOf(debate);
  } catch (const Error& error) {
    if (error.code() != Code::Interrupted) throw;
    if (options.cancel_on_interrupt)
      cancelNow(out, site, id);
    else
      out.note(fmt::format("the debate goes on; to follow it: aragora debate show {} --watch", printable(id, 60)));
    throw;
  }
}

void declareDebate(CommandLine line) {
  auto options = std::make_shared<DebateOptions>();
  const auto runs = [options](int (*function)(Context&, const DebateOptions&)) {
    return [options, function](Context& context) { return function(context, *options); };
  };
  declareDeployment(line, options->where, "the daemon of this machine");
  line.list("--agents", options->agents, "Who takes part, for example demo,demo,demo (default: as the deployment says)")
      .option("--rounds", options->rounds, "How often they criticise and revise (default: as the deployment says)")
      .option("--consensus", options->consensus, "What counts as agreement: majority, supermajority, unanimous, …")
      .flag("--watch", options->watch, "Show the debate as it is held")
      .flag("--detach", options->detach, "Print the id and do not wait")
      .flag("--cancel-on-interrupt", options->cancel_on_interrupt, "An interrupt cancels the debate")
      .flag("--test", options->test, "Hold one test debate, and say what it proved")
      .positional("question", options->question, "What is to be debated")
      .run(runs(create));
  const char* id = "The debate, as list shows it";
  line.subcommand("show", "Show a debate and what came of it").positional("id", options->id, id).run(runs(showDebate));
  line.subcommand("list", "List debates, the newest first")
      .option("--limit", options->limit, "How many (default 20, at most 100)")
      .option("--status", options->status, "Only those: created, running, completed, failed, cancelled")
      .run(runs(listDebates));
  line.subcommand("cancel", "End a debate at its next step").positional("id", options->id, id).run(runs(cancelDebate));
  line.subcommand("export", "Print a debate as a document")
      .option("--format", options->format, "How (default md)", oneOf({"json", "md"}))
      .positional("id", options->id, id)
      .run(runs(exportDebate));
  line.subcommand("replay", "Hold a debate again from what is recorded, without network, and compare")
      .positional("id", options->id, id)
      .run(runs(replayDebate));
}

}  // namespace aragora::cli
