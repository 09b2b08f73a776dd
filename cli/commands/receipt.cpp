#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "cli/schema.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/store/receipts.h"

namespace aragora::cli {

namespace {
constexpr std::size_t kMostOfBundle = 64U << 20;
constexpr std::size_t kMostOfKeys = 1U << 20;

// Beside the database; what it needs of the configuration is opened with it.
struct Log {
  explicit Log(Context& context) : database(openWithSchema(context)), receipts(*database, context.keyring()) {}
  std::unique_ptr<database::Database> database;
  store::Receipts receipts;
};

const std::string& requireWord(const std::optional<std::string>& word, const char* what, const char* example) {
  if (!word || trim(*word).empty()) throw Error(Code::Usage, what, example);
  return *word;
}

// A debate's id, or a receipt's place in the log.
store::Receipt find(Log& log, const std::string& word) {
  auto found = log.receipts.ofDebate(word);
  if (!found) {
    if (const auto index = parseInteger(word); index && *index >= 0) found = log.receipts.at(*index);
  }
  if (!found)
    throw Error(Code::NoInput, fmt::format("there is no receipt of {}", printable(word, 60)),
                "name a debate that has ended, or a place in the log from 0");
  return std::move(*found);
}

std::optional<std::int64_t> sizeOf(const std::optional<std::int64_t>& size) {
  if (size && *size < 1) throw Error(Code::Usage, "--size is at least 1");
  return size;
}

std::string ballotLine(const json::object& ballot) {
  const auto* said = jsonObject(ballot, "said");
  const auto choice = said == nullptr ? std::string() : jsonTextOr(*said, "choice", "");
  return fmt::format("  ballot of {}: {}, confidence {} %", jsonTextOr(ballot, "seat", "?"),
                     choice.empty() ? "none" : choice, said == nullptr ? 0 : jsonIntegerOr(*said, "confidence", 0));
}

void showServed(const Output& out, const json::object& seat) {
  for (const auto& served : seat.at("served_by").as_array()) {
    const auto& by = served.as_object();
    out.line(fmt::format("  seat {}: {} {}, {}, {} failed", jsonTextOr(seat, "seat", "?"),
                         jsonTextOr(by, "provider", "?"), jsonTextOr(by, "model", ""),
                         counted(jsonIntegerOr(by, "answered", 0), "answer"), jsonIntegerOr(by, "failed", 0)));
  }
}

// Under which settings, as config show says it. Empty: it is of an earlier version.
std::string configHashIn(const json::object& receipt, std::string_view part) {
  const auto* object = jsonObject(receipt, part);
  const auto* said = object == nullptr ? nullptr : jsonObject(*object, "said");
  const auto* config = said == nullptr ? nullptr : jsonObject(*said, "config");
  return config == nullptr ? std::string() : jsonTextOr(*config, "id", "");
}

void showSettings(const Output& out, const json::object& receipt) {
  const auto created = configHashIn(receipt, "asked");
  const auto ended = configHashIn(receipt, "end");
  if (created == ended && created.empty()) return;
  out.line(fmt::format("  config hash: {}", created.empty() ? ended : created));
  if (created != ended && !created.empty() && !ended.empty())
    out.line(fmt::format("  config hash at its end: {}", ended));
}

int show(Context& context, const std::optional<std::string>& word) {
  const auto& id = requireWord(word, "whose receipt?", "aragora receipt show ID");
  Log log(context);
  const auto receipt = find(log, id);
  const auto document = parseJson(receipt.body, "the receipt").as_object();
  const auto& out = context.out();
  const auto winner = jsonTextOr(document, "winner", "");
  out.line(fmt::format("receipt {} of debate {}", receipt.index, receipt.debate_id));
  out.line(fmt::format("  issued {}, signed with key {}", toIso(receipt.issued_at), receipt.key_id));
  showSettings(out, document);
  for (const auto& seat : document.at("seats").as_array()) showServed(out, seat.as_object());
  for (const auto& ballot : document.at("ballots").as_array()) out.line(ballotLine(ballot.as_object()));
  out.line(fmt::format("  winner: {}", winner.empty() ? "none" : winner));
  out.document({{"index", receipt.index},
                {"debate_id", receipt.debate_id},
                {"issued_at", toIso(receipt.issued_at)},
                {"key_id", receipt.key_id},
                {"signature", receipt.signature},
                {"leaf_hash", receipt.leaf_hash},
                {"receipt", document}});
  return 0;
}

struct Export {
  std::optional<std::string> id;
  std::optional<std::string> output;
  std::optional<std::int64_t> size;
  bool without_contents = false;
};

// Once: what was kept is not written over.
void write(const Output& out, const std::optional<std::string>& output, const std::string& text, const char* member) {
  if (!output) {
    out.text(member, text);
    return;
  }
  if (!createFileOnce(*output, text, 0600))
    throw Error(Code::CannotCreate, fmt::format("{} exists", *output), "name another file with --output");
  out.marked(Mark::Ok, fmt::format("written: {}", *output));
  out.document({{"written", *output}});
}

int exportBundle(Context& context, const Export& options) {
  const auto& id = requireWord(options.id, "whose receipt?", "aragora receipt export ID --output receipt.json");
  Log log(context);
  auto bundle = log.receipts.bundle(find(log, id), sizeOf(options.size));
  if (options.without_contents) bundle["contents"] = nullptr;
  if (!options.output && context.out().json()) {
    context.out().document({{"bundle", std::move(bundle)}});
    return 0;
  }
  write(context.out(), options.output, toPrettyJson(bundle) + "\n", "bundle");
  return 0;
}

struct Verify {
  std::optional<std::string> file;
  std::vector<std::string> keys;
  std::optional<std::string> checkpoint;
};

std::string readInput(const std::string& path, std::size_t limit) {
  auto text = readFileIfExists(path, limit);
  if (!text) throw Error(Code::NoInput, fmt::format("there is no file {}", path));
  return std::move(*text);
}

// A file, or the key itself.
void addKeys(std::vector<receipts::PublicKey>& keys, const std::string& given) {
  const auto text = readFileIfExists(given, kMostOfKeys);
  if (text && startsWith(trim(*text), "{")) {
    const auto more = receipts::parseKeysDocument(*text, given);
    keys.insert(keys.end(), more.begin(), more.end());
  } else {
    keys.push_back(receipts::parsePublicKey(text ? *text : given, text ? std::string_view(given) : "--key"));
  }
}

receipts::Trust trustOf(const Verify& options) {
  if (options.keys.empty())
    throw Error(Code::Usage, "receipt verify needs --key",
                "a file with a public key of the log, or the key; it must not come from where the receipt came from");
  receipts::Trust trust;
  for (const auto& given : options.keys) addKeys(trust.keys, given);
  if (options.checkpoint)
    trust.checkpoint = receipts::parseCheckpoint(readInput(*options.checkpoint, kMostOfKeys), *options.checkpoint);
  return trust;
}

int verify(Context& context, const Verify& options) {
  const auto& file = requireWord(options.file, "which receipt?", "aragora receipt verify FILE --key PUB");
  const auto trust = trustOf(options);
  const auto verdict = receipts::verifyBundle(readInput(file, kMostOfBundle), trust);
  const auto& out = context.out();
  json::array findings;
  for (const auto& finding : verdict.findings) {
    out.marked(finding.holds ? Mark::Ok : Mark::Failure, fmt::format("{}: {}", finding.subject, finding.message));
    findings.push_back(
        json::object{{"holds", finding.holds}, {"subject", finding.subject}, {"message", finding.message}});
  }
  const int status = verdict.holds() ? 0 : info(Code::CheckFailed).exit_status;
  if (verdict.holds())
    out.marked(Mark::Ok,
               fmt::format("receipt {} of debate {} holds; winner: {}", verdict.index, printable(verdict.debate_id, 60),
                           verdict.winner.empty() ? "none" : printable(verdict.winner, 60)));
  else
    out.marked(Mark::Failure, "the receipt does not hold");
  out.document({{"holds", verdict.holds()},
                {"debate_id", verdict.debate_id},
                {"index", verdict.index},
                {"winner", verdict.winner.empty() ? json::value(nullptr) : json::value(verdict.winner)},
                {"with_contents", verdict.with_contents},
                {"findings", std::move(findings)},
                {"exit_status", status}});
  return status;
}

int showKeys(Context& context) {
  Log log(context);
  auto document = log.receipts.keys();
  const auto& out = context.out();
  for (const auto& element : document.at("keys").as_array()) {
    const auto& key = element.as_object();
    out.line(jsonTextOr(key, "verifier_key", ""));
  }
  if (document.at("keys").as_array().empty())
    out.marked(Mark::Info, "there is no key yet: the first start of the daemon makes it");
  document.erase("schema");
  out.document(std::move(document));
  return 0;
}

int rotate(Context& context) {
  Log log(context);
  const auto key = log.receipts.rotate();
  record(context, "receipt_key.rotate", "receipt_key:" + key.key.id(), {{"number", key.number}});
  const auto& out = context.out();
  out.marked(Mark::Ok, fmt::format("key {} signs receipts from now on; the one before has signed that", key.key.id()));
  out.line(key.key.text());
  out.document({{"key_id", key.key.id()}, {"number", key.number}, {"verifier_key", key.key.text()}});
  return 0;
}
}  // namespace

void declareReceipt(CommandLine line) {
  auto shown = std::make_shared<std::optional<std::string>>();
  line.subcommand("show", "Show the receipt of a debate: who answered, every ballot, what came of it")
      .positional("ID", *shown, "The debate, or the receipt's place in the log")
      .run([shown](Context& context) { return show(context, *shown); });

  auto exported = std::make_shared<Export>();
  line.subcommand("export", "Write a receipt with everything that it takes to verify it elsewhere")
      .positional("ID", exported->id, "The debate, or the receipt's place in the log")
      .option("--output", exported->output, "A new file, instead of standard output", file())
      .option("--size", exported->size, "Proved from the tree of this size, as a checkpoint that was kept has it")
      .flag("--without-contents", exported->without_contents, "Without what was said")
      .run([exported](Context& context) { return exportBundle(context, *exported); });

  auto verified = std::make_shared<Verify>();
  line.subcommand("verify", "Verify a receipt offline; no configuration is needed")
      .positional("FILE", verified->file, "What export wrote or /api/debates/ID/receipt answered", file())
      .list("--key", verified->keys, "A public key of the log, or a file with one; more than once for several")
      .option("--checkpoint", verified->checkpoint, "A checkpoint that was kept; what it was made of must be in it",
              file())
      .run([verified](Context& context) { return verify(context, *verified); });

  auto checkpoint = std::make_shared<Export>();
  line.subcommand("checkpoint", "Print the signed size and root of the log, to be kept elsewhere")
      .option("--output", checkpoint->output, "A new file, instead of standard output", file())
      .option("--size", checkpoint->size, "Of the tree of this size")
      .run([checkpoint](Context& context) {
        Log log(context);
        const auto document = log.receipts.checkpoint(sizeOf(checkpoint->size));
        write(context.out(), checkpoint->output, std::string(document.at("checkpoint").as_string()), "checkpoint");
        return 0;
      });
  line.subcommand("keys", "Print the public keys that receipts are signed with, the one in use last").run(showKeys);
  line.subcommand("rotate", "Make a new key for receipts, signed by the one in use").run(rotate);
  line.run(
      [](Context&) -> int { throw Error(Code::Usage, "receipt needs a subcommand", "try: aragora receipt show ID"); });
}

}  // namespace aragora::cli
