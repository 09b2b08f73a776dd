#include "daemon/replay.h"

#include "cli/commands/debate.h"
#include "cli/schema.h"
#include "common/base/text.h"
#include "common/store/key_use.h"

namespace aragora::cli {

int replayDebate(Context& context, const DebateOptions& options) {
  (void)requireDebateId(options);
  if (options.where.url)
    throw Error(Code::Usage, "replay reads the database of this machine, and asks no deployment",
                "run it where the configuration of the deployment is");
  const auto database = openWithSchema(context);
  const auto keyring = database->reading(
      [&](database::Connection& connection) { return store::withKeptKeys(connection, context.keyring()); });
  const auto replayed = daemon::replayDebate(*database, keyring, *options.id);
  const auto& out = context.out();
  for (const auto& one : replayed.differences) out.marked(Mark::Failure, one);
  const bool same = replayed.differences.empty();
  const auto what = fmt::format("{} and {} made anew, {} from outside", counted(replayed.questions, "question"),
                                counted(replayed.events, "event"), counted(replayed.outside, "event"));
  if (same)
    out.marked(Mark::Ok, fmt::format("{}; all of it is what was asked and recorded{}", what,
                                     replayed.whole ? ", to the end of the debate" : "; the debate has not ended"));
  const int status = same ? 0 : info(Code::Damaged).exit_status;
  out.document({{"id", *options.id},
                {"same", same},
                {"whole", replayed.whole},
                {"questions", replayed.questions},
                {"events", replayed.events},
                {"from_outside", replayed.outside},
                {"differences", json::array(replayed.differences.begin(), replayed.differences.end())},
                {"exit_status", status}});
  return status;
}

}  // namespace aragora::cli
