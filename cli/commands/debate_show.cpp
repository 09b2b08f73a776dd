#include "cli/commands/debate.h"
#include "common/base/text.h"

namespace aragora::cli {

int showDebate(Context& context, const DebateOptions& options) {
  const auto id = requireDebateId(options);
  const probe::Site site(siteOf(context, options.where));
  if (options.watch) return followDebate(context, site, id, options);
  const auto debate = expectObject(site.get("/api/debates/" + id, probe::As::Caller), "the debate");
  context.out().line(fmt::format("{}  {}", printable(jsonTextOr(debate, "id", ""), 60),
                                 printable(jsonTextOr(debate, "task", ""), 400)));
  printDebate(context.out(), debate);
  return jsonFlagOr(debate, "in_progress", false) ? 0 : exitStatusOf(debate);
}

int listDebates(Context& context, const DebateOptions& options) {
  if (options.question)
    throw Error(Code::Usage, "aragora debate list takes no words", "see: aragora debate list --help");
  const probe::Site site(siteOf(context, options.where));
  auto path = fmt::format("/api/debates?limit={}", options.limit.value_or(20));
  if (options.status) path += "&status=" + net::percentEncoded(*options.status);
  const auto page = expectObject(site.get(path, probe::As::Caller), "the list of debates");
  const auto& out = context.out();
  const auto* debates = jsonArray(page, "debates");
  for (const auto& entry : debates != nullptr ? *debates : json::array()) {
    if (!entry.is_object()) continue;
    const auto& debate = entry.get_object();
    const bool reached = jsonFlagOr(debate, "consensus_reached", false);
    const auto status = jsonTextOr(debate, "status", "");
    out.line(fmt::format("{}  {}  {:<10} {:<12} {}", printable(jsonTextOr(debate, "id", ""), 60),
                         printable(jsonTextOr(debate, "created_at", ""), 40), printable(status, 20),
                         status != "completed" ? ""
                         : reached             ? "consensus"
                                               : "no consensus",
                         printable(jsonTextOr(debate, "task", ""), 100)));
  }
  if (debates == nullptr || debates->empty()) out.line("No debates. Hold one with: aragora debate \"Should we …?\"");
  out.document(
      {{"debates", debates != nullptr ? *debates : json::array()}, {"total", jsonIntegerOr(page, "total", 0)}});
  return 0;
}

int cancelDebate(Context& context, const DebateOptions& options) {
  const auto id = requireDebateId(options);
  const probe::Site site(siteOf(context, options.where));
  const auto answer =
      expectObject(site.ask("POST", "/api/debates/" + id + "/cancel", probe::As::Caller), "the cancellation");
  context.out().marked(Mark::Ok, printable(jsonTextOr(answer, "message", "it is cancelled"), 200));
  context.out().document({{"id", jsonTextOr(answer, "debate_id", "")}, {"status", jsonTextOr(answer, "status", "")}});
  return 0;
}

int exportDebate(Context& context, const DebateOptions& options) {
  const auto id = requireDebateId(options);
  const auto format = options.format.value_or("md");
  const probe::Site site(siteOf(context, options.where));
  const auto answer = site.get(fmt::format("/api/debates/{}/export/{}", id, format), probe::As::Caller);
  if (answer.status != 200) expectObject(answer, "the export");
  context.out().text("export", answer.body);
  return 0;
}

}  // namespace aragora::cli
