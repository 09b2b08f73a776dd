#include "cli/commands/user.h"
#include "common/accounts/self_service.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace key = config::key;

namespace {
struct Options {
  std::optional<std::string> email;
  std::optional<std::string> end;
};

// Where clients reach this deployment, as far as the configuration says it.
std::string baseUrl(const config::Config& config) {
  auto url = config.text(key::kPublicUrl);
  for (auto address : config.addresses(key::kListen)) {
    if (!url.empty() || address.local()) continue;
    if (address.host == "0.0.0.0" || address.host == "::") address.host = "localhost";
    url = fmt::format("{}://{}", config.speaksTls() && !address.plain ? "https" : "http", address.text());
  }
  if (url.empty()) url = "http://localhost";  // a local socket alone: whatever is in front knows its name
  while (endsWith(url, "/")) url.pop_back();
  // The public URL may say the path already.
  const auto path = url.find('/', url.find("://") + 3);
  const auto base = config.text(key::kBasePath);
  if (path == std::string::npos || !endsWith(url.substr(path), base)) url += base;
  return url;
}

int reset(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  OpenedAccounts opened(context);
  const auto token = accounts::SelfService(*opened.database, context.keyring()).issueReset(email, doer());
  const auto& out = context.out();
  out.marked(Mark::Ok, fmt::format("{} may choose a new password within {}", email,
                                   counted(accounts::SelfService::kResetLives.count(), "hour")));
  out.note(
      fmt::format("They send it with the token: POST {}/api/auth/password/reset "
                  "{{\"token\": …, \"new_password\": …}}",
                  baseUrl(context.config())));
  if (!out.json()) showOnce(out, "The token", token);
  json::object document{{"email", email}};
  if (out.json()) document["token"] = token.reveal();
  out.document(std::move(document));
  return 0;
}

int unlock(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  OpenedAccounts(context).accounts.unlock(email, doer());
  context.out().marked(
      Mark::Ok, fmt::format("{} may log in with the right password from everywhere for 15 minutes, and wrong codes are "
                            "forgotten",
                            email));
  context.out().document({{"email", email}, {"unlocked", true}});
  return 0;
}

int sessions(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  OpenedAccounts opened(context);
  const auto user = opened.user(email);
  const auto& out = context.out();
  if (options.end) {
    opened.accounts.endSession(user.id, *options.end, doer());
    out.marked(Mark::Ok, fmt::format("the session {} has ended", printable(*options.end, 40)));
    out.document({{"email", user.email}, {"ended", *options.end}});
    return 0;
  }
  json::array array;
  for (const auto& session : opened.accounts.sessions(user.id)) {
    out.line(fmt::format("{}  {:<15} since {}, last used {}  {}", session.id, session.address,
                         toIso(session.created_at), toIso(session.last_used_at), printable(session.device, 60)));
    array.push_back(json::object{{"id", session.id},
                                 {"ip_address", session.address},
                                 {"device", session.device},
                                 {"created_at", toIso(session.created_at)},
                                 {"last_used_at", toIso(session.last_used_at)},
                                 {"expires_at", toIso(session.expires_at)}});
  }
  if (array.empty()) out.line(fmt::format("{} is logged in nowhere", user.email));
  out.document({{"email", user.email}, {"sessions", std::move(array)}});
  return 0;
}

int setupLink(Context& context, const Options&) {
  OpenedAccounts opened(context);
  const auto token = accounts::SelfService(*opened.database, context.keyring()).issueSetup(doer());
  const auto& out = context.out();
  const Secret link(fmt::format("{}/api/auth/setup?token={}", baseUrl(context.config()), token.reveal()));
  out.marked(Mark::Ok, fmt::format("whoever has the link makes the first administrator, once, within {}",
                                   counted(accounts::SelfService::kSetupLives.count(), "hour")));
  out.note("Open it in a browser, or POST there {\"token\": …, \"email\": …, \"password\": …}");
  if (!out.json()) showOnce(out, "The link", link);
  json::object document;
  if (out.json()) document = {{"link", link.reveal()}, {"token", token.reveal()}};
  out.document(std::move(document));
  return 0;
}
}  // namespace

void declareUserLinks(CommandLine& line) {
  auto options = std::make_shared<Options>();
  const auto runs = [options](int (*function)(Context&, const Options&)) {
    return [options, function](Context& context) { return function(context, *options); };
  };
  const char* email = "Address that they log in with";
  const char* given = "The same, without --email";
  line.subcommand("reset", "Make a token with which someone chooses a new password, once")
      .option("--email", options->email, email)
      .positional("address", options->email, given)
      .run(runs(reset));
  line.subcommand("unlock", "Forget wrong passwords and codes of an account")
      .option("--email", options->email, email)
      .positional("address", options->email, given)
      .run(runs(unlock));
  line.subcommand("sessions", "List where someone is logged in, or end one session")
      .option("--email", options->email, email)
      .option("--end", options->end, "The session to end, as the list shows it")
      .positional("address", options->email, given)
      .run(runs(sessions));
  line.subcommand("setup-link", "Make a link that creates the first administrator, once").run(runs(setupLink));
}

}  // namespace aragora::cli
