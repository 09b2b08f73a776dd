// The checklist's "run one test debate": the boxes of `verify --url` that are about it, and on the machine that has the
// database also what no client can know.
#include "cli/commands/debate.h"
#include "cli/commands/verify_url.h"
#include "cli/schema.h"
#include "common/base/text.h"
#include "common/store/event_chain.h"
#include "common/store/key_use.h"
#include "common/store/receipts.h"

namespace aragora::cli {

namespace {
constexpr auto kLongestTest = std::chrono::minutes(30);  // of the agents and rounds that were asked for

std::size_t walkChain(Context& context, const std::string& id) {
  const auto database = openWithSchema(context);
  const auto keyring = database->reading(
      [&](database::Connection& connection) { return store::withKeptKeys(connection, context.keyring()); });
  store::ChainWalk walk(&keyring);
  const auto rows = database->query(
      fmt::format("SELECT {} FROM debate_events WHERE debate_id = $1 ORDER BY seq", store::kChainedColumns), {id});
  for (const auto& row : rows) walk.take(store::toChained(row));
  if (walk.unverified()) throw Error(*walk.unverified());
  return rows.size();
}

probe::OwnRecords ownRecords(Context& context) {
  return {.keys =
              [&context] {
                const auto database = openWithSchema(context);
                return toJson(store::Receipts(*database, context.keyring()).keys());
              },
          .chain = [&context](const std::string& id) { return walkChain(context, id); }};
}
}  // namespace

int testDebate(Context& context, const DebateOptions& options) {
  if (options.question)
    throw Error(Code::Usage, "--test has a question of its own", "leave yours out, or leave --test out");
  const interrupt::Obligation unwinds([] {});  // a signal ends the waits, and the debate is removed
  probe::VisitOptions how{.site = siteOf(context, options.where), .extent = probe::Extent::Debate};
  how.agents = options.agents;
  how.rounds = options.rounds.value_or(how.rounds);
  how.longest_debate = kLongestTest;
  how.whole = kLongestTest + how.whole;
  if (!options.where.url) how.own = ownRecords(context);  // of another deployment nothing here is known
  const auto boxes = probe::visit(how);
  const auto findings = showBoxes(context.out(), boxes);
  const int status = probe::exitStatus(boxes);
  context.out().document({{"verified", status == 0}, {"findings", findings}, {"exit_status", status}});
  return status;
}

}  // namespace aragora::cli
