#include "cli/commands/user.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::string> email;
  std::optional<std::string> id;
  std::optional<std::string> name;
  std::vector<std::string> scopes;
  std::optional<std::int64_t> days;
  std::optional<std::int64_t> overlap_hours;
};

json::object describe(const accounts::ApiKey& key) {
  json::object object{{"id", key.id},
                      {"email", key.email},
                      {"name", key.name},
                      {"scopes", accounts::scopesText(key.scopes)},
                      {"created_at", toIso(key.created_at)},
                      {"expires_at", toIso(key.expires_at)},
                      {"last_used_at", nullptr},
                      {"active", key.live(nowMicros())}};
  if (key.last_used_at) object["last_used_at"] = toIso(*key.last_used_at);
  if (!key.successor.empty()) object["replaced_by"] = key.successor;
  return object;
}

std::string requireId(const Options& options) {
  if (!options.id) throw Error(Code::Usage, "the id of the key is missing", "see: aragora user key list");
  const auto& id = *options.id;
  return accounts::meantAsApiKey(id) ? id.substr(accounts::kApiKeyPrefix.size()) : id;
}

void show(Context& context, const accounts::ApiKeys::Made& made, const std::string& said) {
  const auto& out = context.out();
  out.marked(Mark::Ok, said);
  auto document = describe(made.key);
  if (out.json())
    document["key"] = made.text.reveal();
  else
    showOnce(out, "The key", made.text);
  out.document({{"api_key", document}});
}

int create(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  accounts::NewApiKey wanted;
  wanted.name = options.name.value_or("");
  if (!options.scopes.empty()) wanted.scopes = accounts::requireScopes(options.scopes);
  if (options.days) wanted.lifetime = std::chrono::hours(24 * std::clamp<std::int64_t>(*options.days, 0, 100'000));
  OpenedAccounts opened(context);
  const auto made = opened.keys.create(opened.user(email).id, wanted, doer());
  show(context, made,
       fmt::format("{} has the key {} ({}) until {}", made.key.email, made.key.id,
                   accounts::scopesText(made.key.scopes), toIso(made.key.expires_at)));
  return 0;
}

int list(Context& context, const Options& options) {
  OpenedAccounts opened(context);
  const auto owner = options.email ? std::optional(opened.user(*options.email).id) : std::nullopt;
  const auto& out = context.out();
  json::array array;
  for (const auto& key : opened.keys.list(owner)) {
    array.push_back(describe(key));
    out.line(fmt::format("{}  {:<30} {:<20} {:<7} {}, {}", key.id, key.email, printable(key.name, 60),
                         key.live(nowMicros()) ? "active" : "ended", "until " + toIso(key.expires_at),
                         key.last_used_at ? "last used " + toIso(*key.last_used_at) : "never used"));
  }
  if (array.empty()) out.line("No API keys. Make one with: aragora user key create ada@example.org");
  out.document({{"api_keys", array}});
  return 0;
}

int rotate(Context& context, const Options& options) {
  const auto id = requireId(options);
  const std::chrono::hours overlap(std::clamp<std::int64_t>(options.overlap_hours.value_or(24), -1, 100'000));
  const auto made = OpenedAccounts(context).keys.rotate(id, std::nullopt, overlap, doer());
  show(context, made,
       fmt::format("{} replaces {}, which is good for {} more at most", made.key.id, id,
                   counted(overlap.count(), "hour")));
  return 0;
}

int revoke(Context& context, const Options& options) {
  const auto id = requireId(options);
  OpenedAccounts(context).keys.revoke(id, std::nullopt, doer());
  context.out().marked(Mark::Ok, fmt::format("{} is revoked", id));
  context.out().document({{"id", id}, {"revoked", true}});
  return 0;
}
}  // namespace

void declareUserKey(CommandLine line) {
  auto options = std::make_shared<Options>();
  const auto runs = [options](int (*function)(Context&, const Options&)) {
    return [options, function](Context& context) { return function(context, *options); };
  };
  const char* email = "Whose key it is";
  const char* id = "The key, as list shows it";
  line.subcommand("create", "Make an API key, and show it once")
      .option("--email", options->email, email)
      .option("--name", options->name, "What it is for")
      .list("--scope", options->scopes, "What it may: read, write (these two by default), account")
      .option("--days", options->days, "How long it lives (default: 365)")
      .positional("address", options->email, "The same, without --email")
      .run(runs(create));
  line.subcommand("list", "List the API keys of everyone, or of one")
      .option("--email", options->email, email)
      .positional("address", options->email, "The same, without --email")
      .run(runs(list));
  line.subcommand("rotate", "Replace a key; the old one lives a while")
      .option("--overlap-hours", options->overlap_hours, "How long at most (default: 24)")
      .positional("key", options->id, id)
      .run(runs(rotate));
  line.subcommand("revoke", "End a key at once").positional("key", options->id, id).run(runs(revoke));
  line.run(
      [](Context&) -> int { throw Error(Code::Usage, "user key needs a subcommand", "try: aragora user key list"); });
}

}  // namespace aragora::cli
