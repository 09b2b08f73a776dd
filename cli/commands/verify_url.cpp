#include "cli/commands/verify_url.h"

#include <algorithm>

#include "cli/deployment.h"
#include "common/base/text.h"
#include "common/probe/visit.h"

namespace aragora::cli {

namespace {
constexpr auto kQuickly = std::chrono::milliseconds(5000);

Mark markOf(probe::Outcome outcome) {
  switch (outcome) {
    case probe::Outcome::Proved:
      return Mark::Ok;
    case probe::Outcome::Failed:
      return Mark::Failure;
    case probe::Outcome::Warning:
    case probe::Outcome::Unverified:
      return Mark::Warning;
  }
  return Mark::Failure;
}

probe::VisitOptions visitOf(const Output& out, const VerifyUrlOptions& options) {
  probe::VisitOptions how{.site = {.url = requireDeploymentUrl(*options.url),
                                   .key = readKey(out, options.key_file, "ARAGORA_VERIFY_KEY"),
                                   .authorities = options.authorities.value_or("")}};
  if (options.clear_port) {
    if (*options.clear_port < 1 || *options.clear_port > 65535)
      throw Error(Code::Usage, "--http-port takes 1 to 65535");
    how.clear_port = static_cast<std::uint16_t>(*options.clear_port);
  }
  if (options.quick) how.extent = probe::Extent::Health;
  how.debate = !options.no_debate;
  if (options.quick) {
    how.site.deadline = deadlineIn(kQuickly);
    how.site.each = kQuickly;
  }
  return how;
}

std::size_t count(const std::vector<probe::Box>& boxes, probe::Outcome outcome) {
  return static_cast<std::size_t>(
      std::count_if(boxes.begin(), boxes.end(), [&](const auto& box) { return box.seen.outcome == outcome; }));
}
}  // namespace

void declareUrl(CommandLine& line, VerifyUrlOptions& options, const std::string& url_description) {
  line.option("--url", options.url, url_description, {"URL", {}})
      .option("--key-file", options.key_file, "With --url: a file with an API key to show", file())
      .option("--ca", options.authorities, "With --url: trust the certificates of this PEM file", file())
      .option("--http-port", options.clear_port, "With --url: where HTTP is to lead to HTTPS (default 80)")
      .flag("--no-debate", options.no_debate, "With --url: hold no test debate");
}

void requireUrl(const VerifyUrlOptions& options) {
  if (!options.url &&
      (options.quick || options.no_debate || options.key_file || options.authorities || options.clear_port))
    throw Error(Code::Usage, "these options belong to --url", "write: --url https://aragora.example.org");
}

std::vector<probe::Box> lookAtUrl(Context& context, const VerifyUrlOptions& options) {
  const interrupt::Obligation unwinds([] {});  // a signal ends the waits, and the debate is deleted
  return probe::visit(visitOf(context.out(), options));
}

json::array showBoxes(const Output& out, const std::vector<probe::Box>& boxes) {
  json::array findings;
  for (const auto& box : boxes) {
    findings.push_back(json::object{{"id", box.id},
                                    {"title", box.title},
                                    {"status", probe::name(box.seen.outcome)},
                                    {"message", box.seen.message},
                                    {"hint", box.seen.hint},
                                    {"seconds", box.seconds}});
    auto text = fmt::format("{}: {}", box.title, box.seen.message);
    if (box.seen.outcome != probe::Outcome::Proved) {
      text += out.dim(fmt::format("  [{}]", box.id));
      if (!box.seen.hint.empty()) text += fmt::format("\n    → {}", box.seen.hint);
    }
    out.marked(markOf(box.seen.outcome), text);
  }
  return findings;
}

int verifyUrl(Context& context, const VerifyUrlOptions& options) {
  const auto& out = context.out();
  const auto boxes = lookAtUrl(context, options);
  const auto findings = showBoxes(out, boxes);
  const int status = probe::exitStatus(boxes);
  out.document({{"url", *options.url},
                {"quick", options.quick},
                {"verified", status == 0},
                {"findings", findings},
                {"exit_status", status}});
  const auto unseen = count(boxes, probe::Outcome::Unverified);
  if (const auto bad = count(boxes, probe::Outcome::Failed); bad > 0)
    out.marked(Mark::Failure, fmt::format("{} of {} failed", bad, counted(boxes.size(), "box")));
  else if (unseen > 0)
    out.marked(Mark::Warning, fmt::format("{} of {} could not be verified", unseen, counted(boxes.size(), "box")));
  else
    out.marked(Mark::Ok, options.quick ? "The deployment is up" : "The deployment is as it should be");
  return status;
}

}  // namespace aragora::cli
