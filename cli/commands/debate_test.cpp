// The checklist's "run one test debate": each line says what was seen. What could not be looked at is said not to be.
#include <set>

#include "cli/commands/debate.h"
#include "cli/debate_feed.h"
#include "cli/schema.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/probe/visit.h"
#include "common/receipts/bundle.h"
#include "common/store/event_chain.h"
#include "common/store/key_use.h"
#include "common/store/receipts.h"

namespace aragora::cli {

namespace {
using probe::Outcome;

struct Proof {
  const char* id;
  std::string title;
  Outcome outcome = Outcome::Unverified;
  std::string message;
  std::string hint{};
};

// What came over the socket, or by asking.
struct Heard {
  std::vector<std::int64_t> numbers;
  std::set<std::string> types;
  std::set<std::string> voices;  // seats that were heard while they spoke
};

class Trial {
 public:
  Trial(Context& context, const DebateOptions& options)
      : context_(context), options_(options), site_(siteOf(context, options.where)) {}

  std::vector<Proof> run() {
    create();
    follow();
    readBack();
    walkChain();
    verifyReceipt();
    remove();
    return std::move(proofs_);
  }
  const std::string& id() const { return id_; }

  // One that was created is not left behind, whatever came in between.
  ~Trial() {
    if (id_.empty() || removed_) return;
    const interrupt::Shield shield;
    try {
      (void)site_.ask("POST", "/api/debates/" + id_ + "/cancel", probe::As::Caller);
      (void)site_.ask("DELETE", "/api/debates/" + id_, probe::As::Caller);
    } catch (const Error&) {  // it is named in what was printed
    }
  }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

 private:
  void add(Proof proof) { proofs_.push_back(std::move(proof)); }

  void create() {
    json::object body{{"task", "Does this deployment work? Answer in one sentence."},
                      {"rounds", options_.rounds.value_or(1)}};
    if (!options_.agents.empty()) body["agents"] = json::array(options_.agents.begin(), options_.agents.end());
    const auto made =
        expectObject(site_.ask("POST", "/api/debates", probe::As::Caller, {{"Idempotency-Key", newUlid()}}, body),
                     "the test debate");
    id_ = jsonTextOr(made, "debate_id", "");
    if (id_.empty() || net::percentEncoded(id_) != id_) {
      id_.clear();
      throw Error(Code::CheckFailed, "it was created without an id", "is this the address of a deployment?");
    }
    add({"created", "Created", Outcome::Proved, fmt::format("debate {}", id_)});
  }

  void follow() {
    DebateFeed feed(site_, id_);
    feed.follow([this](const json::object& frame) {
      const auto type = jsonTextOr(frame, "type", "");
      if (const auto seq = jsonInteger(frame, "seq")) {
        heard_.numbers.push_back(*seq);
        heard_.types.insert(type);
      } else if (type == "agent_delta") {
        heard_.voices.insert(jsonTextOr(frame, "agent", ""));
      }
    });
    std::vector<std::string> missing;
    for (const auto* type : {"debate_start", "agent_message", "vote", "consensus", "debate_end"})
      if (heard_.types.count(type) == 0) missing.emplace_back(type);
    bool whole = true;
    for (std::size_t i = 0; i < heard_.numbers.size(); ++i)
      whole &= heard_.numbers[i] == static_cast<std::int64_t>(i) + 1;
    Proof proof{"phases", "Each phase", Outcome::Proved,
                fmt::format("{} in order{}", counted(heard_.numbers.size(), "event"),
                            feed.overSocket() ? " over the WebSocket" : ", by asking")};
    if (!missing.empty() || !whole) {
      proof.outcome = Outcome::Failed;
      proof.message = whole ? fmt::format("these were never heard: {}", join(missing, ", "))
                            : "events are missing, or came in another order";
      proof.hint = "see: aragora validate-env --only ai_providers";
    } else if (!feed.overSocket()) {
      proof.outcome = Outcome::Unverified;
      proof.message += "; no WebSocket could be had";
      proof.hint = "let the proxy pass Upgrade and Connection on /ws";
    }
    add(std::move(proof));
    add(heard_.voices.empty()
            ? Proof{"streaming", "Answers as they are made", Outcome::Unverified, "none was heard before it was whole",
                    "the first seconds of a debate may be over before the WebSocket is open; try again"}
            : Proof{"streaming", "Answers as they are made", Outcome::Proved,
                    fmt::format("of {}", counted(heard_.voices.size(), "seat"))});
  }

  void readBack() {
    debate_ = expectObject(site_.get("/api/debates/" + id_, probe::As::Caller), "the debate");
    const auto events =
        expectObject(site_.get(fmt::format("/api/debates/{}/events?limit=500", id_), probe::As::Caller), "its events");
    const auto* list = jsonArray(events, "events");
    const auto stored = list != nullptr ? list->size() : 0;
    const auto status = printable(jsonTextOr(debate_, "status", ""), 40);
    if (status != "completed")
      return add({"stored", "Stored", Outcome::Failed, fmt::format("the debate is {}", status),
                  "see: aragora validate-env --only ai_providers"});
    if (stored != std::min<std::size_t>(heard_.numbers.size(), 500))
      return add({"stored", "Stored", Outcome::Failed,
                  fmt::format("{} are stored and {} were heard", counted(stored, "event"), heard_.numbers.size()),
                  "report this as a bug"});
    add({"stored", "Stored", Outcome::Proved,
         fmt::format("completed ({}), with {}", printable(jsonTextOr(debate_, "outcome", ""), 60),
                     counted(stored, "event"))});
  }

  // Its key is not for clients: where the database of the deployment is not this machine's, nobody here can look.
  void walkChain() {
    const char* title = "Chain of its events";
    if (options_.where.url)
      return add(
          {"chain", title, Outcome::Unverified, "not looked at: --url", "run aragora verify where the database is"});
    try {
      const auto database = openWithSchema(context_);
      const auto keyring = database->reading(
          [&](database::Connection& connection) { return store::withKeptKeys(connection, context_.keyring()); });
      store::ChainWalk walk(&keyring);
      const auto rows = database->query(
          fmt::format("SELECT {} FROM debate_events WHERE debate_id = $1 ORDER BY seq", store::kChainedColumns), {id_});
      for (const auto& row : rows) walk.take(store::toChained(row));
      if (walk.unverified())
        add({"chain", title, Outcome::Unverified, walk.unverified()->what(), walk.unverified()->hint()});
      else if (rows.size() != heard_.numbers.size())
        add({"chain", title, Outcome::Failed, fmt::format("it has {}", counted(rows.size(), "event")),
             "is the daemon of this machine the one that was asked?"});
      else
        add({"chain", title, Outcome::Proved, fmt::format("holds, over {}", counted(rows.size(), "event"))});
    } catch (const Error& error) {
      if (error.code() == Code::Interrupted) throw;
      add({"chain", title, error.code() == Code::Damaged ? Outcome::Failed : Outcome::Unverified, error.what(),
           error.hint()});
    }
  }

  // Its keys come from the database: one that came with the receipt would prove nothing.
  void verifyReceipt() {
    const char* title = "Receipt";
    const auto answer = site_.get(fmt::format("/api/debates/{}/receipt", id_), probe::As::Caller);
    if (answer.status != 200)
      return add({"receipt", title, Outcome::Failed, fmt::format("there is none (answered {})", answer.status),
                  "see the log of the deployment"});
    if (options_.where.url)
      return add({"receipt", title, Outcome::Unverified, "it is there; not verified: --url",
                  "save it, and run aragora receipt verify with a key of the log"});
    try {
      const auto database = openWithSchema(context_);
      const auto known = toJson(store::Receipts(*database, context_.keyring()).keys());
      const auto verdict =
          receipts::verifyBundle(answer.body, {receipts::parseKeysDocument(known, "the keys of the log"), {}});
      for (const auto& finding : verdict.findings) {
        if (finding.holds) continue;
        return add({"receipt", title, Outcome::Failed, fmt::format("{}: {}", finding.subject, finding.message),
                    "run aragora verify"});
      }
      if (!verdict.holds() || verdict.debate_id != id_)
        return add({"receipt", title, Outcome::Failed, "it is of another debate", "report this as a bug"});
      add({"receipt", title, Outcome::Proved,
           fmt::format("holds: its signature, its place {} in the log, and what was said", verdict.index)});
    } catch (const Error& error) {
      if (error.code() == Code::Interrupted) throw;
      add({"receipt", title, error.code() == Code::Damaged ? Outcome::Failed : Outcome::Unverified, error.what(),
           error.hint()});
    }
  }

  void remove() {
    const auto path = "/api/debates/" + id_;
    const auto answer = site_.ask("DELETE", path, probe::As::Caller);
    removed_ = true;  // tried, and said
    if (answer.status != 200)
      return add({"removed", "Removed again", Outcome::Unverified, fmt::format("DELETE answered {}", answer.status),
                  fmt::format("it stays, as debate {}", id_)});
    const auto after = site_.get(path, probe::As::Caller);
    if (after.status != 404)
      return add({"removed", "Removed again", Outcome::Failed,
                  fmt::format("it was deleted, and GET answers {}", after.status), "report this as a bug"});
    add({"removed", "Removed again", Outcome::Proved, "it is gone"});
  }

  Context& context_;
  const DebateOptions& options_;
  probe::Site site_;
  std::string id_;
  Heard heard_;
  json::object debate_;
  bool removed_ = false;
  std::vector<Proof> proofs_;
};

Mark markOf(Outcome outcome) {
  return outcome == Outcome::Proved ? Mark::Ok : outcome == Outcome::Failed ? Mark::Failure : Mark::Warning;
}
}  // namespace

int testDebate(Context& context, const DebateOptions& options) {
  if (options.question)
    throw Error(Code::Usage, "--test has a question of its own", "leave yours out, or leave --test out");
  const interrupt::Obligation unwinds([] {});  // a signal ends the waits, and the debate is removed
  const auto proofs = Trial(context, options).run();
  const auto& out = context.out();
  json::array findings;
  bool failed = false;
  bool unverified = false;
  for (const auto& one : proofs) {
    auto text = fmt::format("{}: {}", one.title, one.message);
    if (one.outcome != Outcome::Proved && !one.hint.empty()) text += fmt::format("\n    → {}", one.hint);
    out.marked(markOf(one.outcome), text);
    failed |= one.outcome == Outcome::Failed;
    unverified |= one.outcome == Outcome::Unverified;
    findings.push_back(json::object{{"id", one.id},
                                    {"title", one.title},
                                    {"status", probe::name(one.outcome)},
                                    {"message", one.message},
                                    {"hint", one.hint}});
  }
  const int status = failed       ? info(Code::CheckFailed).exit_status
                     : unverified ? info(Code::CouldNotVerify).exit_status
                                  : 0;
  out.document({{"verified", status == 0}, {"findings", findings}, {"exit_status", status}});
  return status;
}

}  // namespace aragora::cli
