#include <iostream>

#include "cli/commands/user.h"
#include "common/base/text.h"
#include "common/config/secret_file.h"
#include "common/deployment/deployment.h"
#include "common/migrate/migrator.h"
#include "common/store/settings.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::string> email;
  std::optional<std::string> name;
  std::optional<std::string> role;
  std::optional<std::string> password_file;
  bool yes = false;
};

// From the file, "-" being standard input; a random one that is shown once otherwise.
Secret passwordFor(const Options& options, bool& made) {
  made = !options.password_file;
  if (made) return accounts::randomPassword();
  constexpr std::size_t kLimit = 4096;
  std::string text;
  if (*options.password_file == "-") {
    std::getline(std::cin, text, '\0');
  } else {
    text = readFile(*options.password_file, kLimit);
  }
  text = config::withoutFinalNewline(std::move(text));
  if (const auto unseen = config::invisibleIn(text))
    throw Error(Code::Usage, fmt::format("--password-file: the password {}", *unseen),
                "nobody would type it again; write the file anew: printf '%s' 'the password' > FILE");
  return Secret(std::move(text));
}

void showPassword(const Output& out, const Secret& password) { showOnce(out, "The password", password); }

json::object describe(const accounts::User& user) {
  json::object object{{"id", user.id},
                      {"email", user.email},
                      {"name", user.name},
                      {"role", accounts::roleName(user.role)},
                      {"active", user.active},
                      {"last_login_at", nullptr},
                      {"mfa_enabled", user.second_factor}};
  if (user.last_login_at) object["last_login_at"] = toIso(*user.last_login_at);
  return object;
}

int add(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  bool made = false;
  const auto password = passwordFor(options, made);
  const auto user = OpenedAccounts(context).accounts.add(email, options.name.value_or(""),
                                                         accounts::requireRole(options.role.value_or("member")),
                                                         password, operatorName());
  const auto& out = context.out();
  out.marked(Mark::Ok, fmt::format("{} was added ({})", user.email, accounts::roleName(user.role)));
  auto document = describe(user);
  if (made && out.json()) document["password"] = password.reveal();
  if (made && !out.json()) showPassword(out, password);
  out.document({{"user", document}});
  return 0;
}

int list(Context& context, const Options&) {
  const auto& out = context.out();
  json::array array;
  for (const auto& user : OpenedAccounts(context).accounts.list()) {
    array.push_back(describe(user));
    out.line(fmt::format("{:<36} {:<7} {:<4} {}", user.email, accounts::roleName(user.role), user.active ? "on" : "off",
                         (user.last_login_at ? "last login " + toIso(*user.last_login_at) : "never logged in") +
                             (user.second_factor ? ", second factor" : "")));
  }
  if (array.empty()) out.line("No users. Add one with: aragora user add --email ada@example.org --role admin");
  out.document({{"users", array}});
  return 0;
}

int password(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  bool made = false;
  const auto password = passwordFor(options, made);
  OpenedAccounts(context).accounts.setPassword(email, password, operatorName());
  const auto& out = context.out();
  out.marked(Mark::Ok, fmt::format("{} has a new password; every session of theirs has ended", email));
  json::object document{{"email", email}};
  if (made && out.json()) document["password"] = password.reveal();
  if (made && !out.json()) showPassword(out, password);
  out.document(document);
  return 0;
}

int setActive(Context& context, const Options& options, bool active) {
  const auto email = requireEmail(options.email);
  OpenedAccounts(context).accounts.setActive(email, active, operatorName());
  context.out().marked(Mark::Ok, active ? fmt::format("{} may log in", email)
                                        : fmt::format("{} is switched off; every session of theirs has ended", email));
  context.out().document({{"email", email}, {"active", active}});
  return 0;
}

int role(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  if (!options.role)
    throw Error(Code::Usage, "the role is missing",
                fmt::format("such as: aragora user role {} viewer", printable(email, 80)));
  const bool changed =
      OpenedAccounts(context).accounts.setRole(email, accounts::requireRole(*options.role), operatorName());
  context.out().marked(Mark::Ok, fmt::format("{} is {}{}", email, *options.role,
                                             changed ? " now; every session of theirs has ended" : " already"));
  context.out().document({{"email", email}, {"role", *options.role}, {"changed", changed}});
  return 0;
}

int remove(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  const auto question = fmt::format("Delete the account {} with its sessions and API keys?", printable(email, 80));
  if (!options.yes && !canAsk())
    throw Error(Code::Usage, "deleting an account needs --yes where nobody can be asked",
                "user disable switches it off and can be undone");
  if (!options.yes && !ask(question)) throw Error(Code::Interrupted, "not confirmed; nothing was changed");
  OpenedAccounts(context).accounts.remove(email, operatorName());
  context.out().marked(Mark::Ok, fmt::format("{} is deleted; debates stay", email));
  context.out().document({{"email", email}, {"deleted", true}});
  return 0;
}

int enable(Context& context, const Options& options) { return setActive(context, options, true); }
int disable(Context& context, const Options& options) { return setActive(context, options, false); }
}  // namespace

OpenedAccounts::OpenedAccounts(Context& context)
    : database([&] {
        if (!context.config().production()) deployment::ensureGeneratedSecrets(context.config());
        if (!migrate::Migrator(context.target()).status().current())
          throw Error(Code::Conflict, "the database has not all migrations of this version", "run: aragora migrate");
        auto opened = database::openDatabase(context.target());
        opened->write([&](database::Connection& connection) { store::requireSameKey(connection, context.keyring()); });
        return opened;
      }()),
      accounts(*database, context.keyring()),
      keys(*database, context.keyring()) {}

accounts::User OpenedAccounts::user(const std::string& email) {
  return database->reading([&](database::Connection& connection) {
    return accounts::requireUser(connection, accounts::normalisedEmail(email));
  });
}

std::string requireEmail(const std::optional<std::string>& email) {
  if (!email) throw Error(Code::Usage, "the address is missing", "such as ada@example.org");
  return *email;
}

void showOnce(const Output& out, std::string_view what, const Secret& secret) {
  out.note(fmt::format("{}, shown this once:", what));
  out.raw(secret.reveal() + "\n");
}

void declareUser(CommandLine line) {
  auto options = std::make_shared<Options>();
  const auto runs = [options](int (*function)(Context&, const Options&)) {
    return [options, function](Context& context) { return function(context, *options); };
  };
  const char* email = "Address that they log in with";
  const char* given = "The same, without --email";
  const auto roles = oneOf({"viewer", "member", "admin"});
  const char* file = "File with the password, - for standard input (default: a random one is made and shown)";
  auto add_line = line.subcommand("add", "Add someone");
  add_line.option("--email", options->email, email)
      .option("--name", options->name, "Their name")
      .option("--role", options->role, "viewer (reads), member (default) or admin", roles)
      .option("--password-file", options->password_file, file, cli::file())
      .positional("address", options->email, given)
      .run(runs(add));
  line.subcommand("list", "List everyone").run(runs(list));
  auto password_line = line.subcommand("password", "Give someone a new password, and end their sessions");
  password_line.option("--email", options->email, email)
      .option("--password-file", options->password_file, file, cli::file())
      .positional("address", options->email, given)
      .run(runs(password));
  line.subcommand("disable", "Switch an account off, and end its sessions")
      .option("--email", options->email, email)
      .positional("address", options->email, given)
      .run(runs(disable));
  line.subcommand("enable", "Let someone log in again")
      .option("--email", options->email, email)
      .positional("address", options->email, given)
      .run(runs(enable));
  line.subcommand("role", "Change someone's role, and end their sessions")
      .option("--email", options->email, email)
      .option("--role", options->role, "viewer (reads), member or admin", roles)
      .positional("address", options->email, given)
      .positional("new-role", options->role, "The same, without --role", roles)
      .run(runs(role));
  line.subcommand("delete", "Delete an account with its sessions and API keys; debates stay")
      .option("--email", options->email, email)
      .flag("--yes", options->yes, "Do not ask")
      .positional("address", options->email, given)
      .run(runs(remove));
  declareUserLinks(line);
  declareUserKey(line.subcommand("key", "API keys"));
  declareUserMfa(line.subcommand("mfa", "The second factor of an account"));
  line.run([](Context&) -> int { throw Error(Code::Usage, "user needs a subcommand", "try: aragora user list"); });
}

}  // namespace aragora::cli
