#include "cli/all_checks.h"
#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "cli/commands/verify_url.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/checklist/boxes.h"
#include "common/checklist/confirmations.h"
#include "common/checklist/render.h"
#include "common/checklist/signature.h"
#include "common/deployment/deployment.h"
#include "common/net/url.h"

namespace aragora::cli {

namespace {
using checklist::State;

struct Options {
  std::optional<std::string> report;
  bool sign = false;
  bool list = false;
  std::optional<std::string> check;
  std::optional<std::string> public_key;
  std::optional<std::string> confirm;
  std::optional<std::string> by;
  std::optional<std::string> note;
  std::optional<std::string> prometheus;
  VerifyUrlOptions url;
};

Mark markOf(State state) {
  switch (state) {
    case State::Proved:
    case State::Confirmed:
      return Mark::Ok;
    case State::Failed:
      return Mark::Failure;
    case State::CouldNotVerify:
      return Mark::Warning;
    case State::ForAPerson:
      return Mark::Info;
  }
  return Mark::Failure;
}

void print(const Output& out, const checklist::Report& report) {
  std::string section;
  for (const auto& box : report.boxes) {
    if (box.section != section) out.line((section.empty() ? "" : "\n") + box.section);
    section = box.section;
    const bool done = box.state == State::Proved || box.state == State::Confirmed;
    auto text = box.title;
    if (!done) text += out.dim(fmt::format("  [{}]", box.id));
    if (!box.evidence.empty()) text += out.dim("\n    " + box.evidence);
    if (!box.fix.empty()) text += "\n    → " + box.fix;
    if (box.state == State::ForAPerson && !box.document.empty()) text += "\n    → see " + box.document;
    out.marked(markOf(box.state), text);
  }
  out.line("");
  out.marked(report.exitStatus() == 0          ? Mark::Ok
             : report.count(State::Failed) > 0 ? Mark::Failure
                                               : Mark::Warning,
             fmt::format("{}: {}", counted(report.boxes.size(), "box"), checklist::tally(report)));
}

// The log that confirmations are kept in.
std::unique_ptr<database::Connection> openLog(Context& context, database::OpenMode mode) {
  const auto target = context.target();
  if (target.engine == database::Engine::Sqlite && !fileExists(target.path))
    throw Error(Code::Config, "there is no database yet that a confirmation could be kept in", "run: aragora migrate");
  return database::connect(target, mode);
}

void addConfirmations(Context& context, checklist::Evidence& evidence) {
  try {
    const auto keyring = deployment::keyring(context.config());
    if (!keyring) throw Error(Code::Config, "there is no key to read confirmations with");
    const auto connection = openLog(context, database::OpenMode::ReadOnly);
    evidence.confirmations = checklist::confirmations(*connection, *keyring);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    evidence.confirmations_trouble = fmt::format("confirmations could not be read: {}", printable(error.what(), 200));
  }
}

int report(Context& context, const Options& options) {
  const auto& out = context.out();
  std::optional<std::vector<probe::Box>> visit;
  if (options.url.url) visit = lookAtUrl(context, options.url);
  const auto checks = runAllChecks(context, {});
  checklist::Evidence evidence{context.loaded().config, checks, visit};
  evidence.url = options.url.url.value_or("");
  evidence.prometheus = options.prometheus.value_or("");
  addConfirmations(context, evidence);
  const auto whole = checklist::gather(evidence);
  const auto document = checklist::toDocument(whole);
  const auto format = options.report.value_or(out.json() ? "json" : "");
  if (format == "json") {
    const auto signed_or_not =
        options.sign ? checklist::signedDocument(document, context.keyring()) : json::object{{"report", document}};
    json::object printed{{"schema_version", 1}};
    for (const auto& member : signed_or_not) printed[member.key()] = member.value();
    if (out.json())
      out.document(signed_or_not);
    else
      out.raw(toPrettyJson(printed) + "\n");
  } else if (!format.empty()) {
    const auto text = format == "md" ? checklist::toMarkdown(whole) : checklist::toHtml(whole);
    out.text("text", options.sign ? checklist::signedText(text, context.keyring()) : text);
  } else {
    print(out, whole);
  }
  return whole.exitStatus();
}

int confirm(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto& id = *options.confirm;
  if (checklist::findBox(id) == nullptr) {
    std::vector<std::string> known;
    for (const auto& row : checklist::boxRows()) known.emplace_back(row.id);
    const auto close = nearest(id, known);
    throw Error(Code::Usage, fmt::format("there is no box '{}'", printable(id, 60)),
                close ? fmt::format("did you mean {}?", *close) : "see: aragora checklist --list");
  }
  const auto required = [](const std::optional<std::string>& text, const char* name) {
    if (!text || trim(*text).empty() || *text != printable(*text, 500))
      throw Error(Code::Usage, fmt::format("{} is missing, or longer than 500 characters", name),
                  R"(write: --confirm ID --by "Ada Lovelace" --note "what was done, and where it stands")");
    return *text;
  };
  const auto by = required(options.by, "--by");
  const auto note = required(options.note, "--note");
  const auto keyring = deployment::requireKeyring(context.config());
  const auto connection = openLog(context, database::OpenMode::ReadWrite);
  const auto given = checklist::confirm(*connection, keyring, id, by, note, operatorName());
  out.document(
      {{"confirmed", id}, {"by", by}, {"note", note}, {"typed_by", given.actor}, {"until", toIso(given.until)}});
  out.marked(Mark::Ok,
             fmt::format("{} is confirmed by {} until {}{}", id, by, toIso(given.until).substr(0, 10),
                         checklist::findBox(id)->of_release ? fmt::format(", for version {}", given.version) : ""));
  return 0;
}

// Whose key it is: the one that was named, or one of this deployment's; otherwise nobody vouches for it.
std::string vouchedFor(Context& context, const Options& options, const std::string& key) {
  if (options.public_key) {
    if (lower(*options.public_key) == key) return "the key that was named";
    throw Error(Code::Damaged, fmt::format("{}: it is signed with another key ({})", *options.check, key),
                "ask for a report that is signed with the key that you were given");
  }
  const auto loaded = config::load(context.sources());
  const auto keyring = deployment::keyring(loaded.config);
  if (!keyring)
    throw Error(Code::CouldNotVerify,
                fmt::format("{}: it is whole, but there is nothing here to say whose key {} is", *options.check, key),
                "name the key that you were given, with --public-key");
  for (const auto& own : keyring->signingPublicKeys()) {
    if (toHex(own) == key) return "a key of this deployment";
  }
  throw Error(Code::Damaged,
              fmt::format("{}: it is signed with a key that is not this deployment's ({})", *options.check, key),
              "name the key that you were given, with --public-key");
}

int check(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto verified = checklist::verifyReport(readFile(*options.check), *options.check);
  const auto whose = vouchedFor(context, options, verified.public_key);
  out.document({{"file", *options.check}, {"authentic", true}, {"public_key", verified.public_key}});
  out.marked(Mark::Ok, fmt::format("{} is whole, and signed with {} ({})", *options.check, whose, verified.public_key));
  return 0;
}

int list(Context& context) {
  json::array array;
  for (const auto& row : checklist::boxRows()) {
    array.push_back(json::object{{"id", row.id}, {"section", row.section}, {"title", row.title}});
    context.out().line(fmt::format("{:<24} {}", row.id, row.title));
  }
  context.out().document({{"boxes", array}});
  return 0;
}

void requirePrometheus(const Options& options) {
  if (!options.prometheus) return;
  const auto url = net::Url::parse(*options.prometheus);
  if (!url || (url->scheme != "http" && url->scheme != "https") || !url->user_info.empty() || !url->query.empty())
    throw Error(Code::Usage, "--prometheus takes the address of a Prometheus", "for example http://127.0.0.1:9090");
}

int run(Context& context, const Options& options) {
  const int modes = (options.check ? 1 : 0) + (options.confirm ? 1 : 0) + (options.list ? 1 : 0) +
                    (options.report || options.sign || options.url.url || options.prometheus ? 1 : 0);
  if (modes > 1)
    throw Error(Code::Usage, "--check, --confirm, --list and --report are different things", "do one after the other");
  if (options.sign && !options.report && !context.out().json())
    throw Error(Code::Usage, "--sign belongs to --report", "write: --report md, json or html");
  if (!options.confirm && (options.by || options.note)) throw Error(Code::Usage, "--by and --note belong to --confirm");
  if (!options.check && options.public_key) throw Error(Code::Usage, "--public-key belongs to --check");
  requireUrl(options.url);
  requirePrometheus(options);
  if (options.list) return list(context);
  if (options.check) return check(context, options);
  return options.confirm ? confirm(context, options) : report(context, options);
}
}  // namespace

void declareChecklist(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.option("--report", options->report, "Print a report to hand on", oneOf({"md", "json", "html"}))
      .flag("--sign", options->sign, "Sign the report, so that it can be checked anywhere")
      .option("--check", options->check, "Check the signature of a report", file())
      .option("--public-key", options->public_key, "With --check: the key that it is to be signed with")
      .option("--confirm", options->confirm, "Record that a person did what this box asks for (its id)")
      .option("--by", options->by, "With --confirm: who did it")
      .option("--note", options->note, "With --confirm: what was done")
      .flag("--list", options->list, "List the boxes and their ids");
  declareUrl(line, options->url, "Also look at the running deployment");
  line.option("--prometheus", options->prometheus, "Also look at the alerting rules of this Prometheus", {"URL", {}});
  line.run([options](Context& context) { return run(context, *options); });
}

}  // namespace aragora::cli
