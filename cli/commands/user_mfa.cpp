#include <unistd.h>

#include <iostream>

#include "cli/commands/user.h"
#include "cli/output/qr.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::string> email;
};

// From the terminal or a pipe: never an argument, which everybody on the machine can read.
std::string askForCode(const Output& out) {
  if (canAsk()) out.note("The code that the authenticator shows:");
  std::string line;
  std::getline(std::cin, line);
  auto code = std::string(trim(line));
  if (code.empty()) throw Error(Code::Usage, "no code came on standard input", "type it, or pipe it");
  return code;
}

void showCodes(const Output& out, const std::vector<Secret>& codes, json::object document) {
  json::array array;
  for (const auto& code : codes) {
    if (out.json())
      array.emplace_back(code.reveal());
    else
      out.raw(code.reveal() + "\n");
  }
  if (out.json())
    document["recovery_codes"] = std::move(array);
  else
    out.note("Recovery codes, shown this once; each is good once.");
  out.document(std::move(document));
}

int enrol(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  OpenedAccounts opened(context);
  const auto enrolment = opened.accounts.secondFactor().enrol(opened.user(email).id, doer());
  const auto& out = context.out();
  if (out.json()) {
    out.document(
        {{"email", email}, {"secret", enrolment.secret.reveal()}, {"provisioning_uri", enrolment.uri.reveal()}});
    return 0;
  }
  if (::isatty(STDOUT_FILENO) == 1) out.raw(qrCode(enrolment.uri));
  out.raw(enrolment.uri.reveal() + "\n");
  out.note(fmt::format("It counts once it was confirmed: aragora user mfa confirm {}", printable(email, 80)));
  return 0;
}

int confirm(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  OpenedAccounts opened(context);
  const auto user = opened.user(email);
  const auto codes = opened.accounts.secondFactor().confirm(user.id, askForCode(context.out()), doer());
  context.out().marked(Mark::Ok, fmt::format("{} logs in with a second factor now", user.email));
  showCodes(context.out(), codes, {{"email", user.email}, {"mfa_enabled", true}});
  return 0;
}

int codes(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  OpenedAccounts opened(context);
  const auto user = opened.user(email);
  const auto made = opened.accounts.secondFactor().renewCodes(user.id, doer());
  context.out().marked(Mark::Ok,
                       fmt::format("{} has new recovery codes; those of before are good no more", user.email));
  showCodes(context.out(), made, {{"email", user.email}});
  return 0;
}

int remove(Context& context, const Options& options) {
  const auto email = requireEmail(options.email);
  OpenedAccounts opened(context);
  const auto user = opened.user(email);
  opened.accounts.secondFactor().remove(user.id, doer());
  context.out().marked(Mark::Ok, fmt::format("{} has no second factor any more", user.email));
  context.out().document({{"email", user.email}, {"mfa_enabled", false}});
  return 0;
}
}  // namespace

void declareUserMfa(CommandLine line) {
  auto options = std::make_shared<Options>();
  const auto add = [&](const char* name, const char* description, int (*function)(Context&, const Options&)) {
    line.subcommand(name, description)
        .option("--email", options->email, "Address that they log in with")
        .positional("address", options->email, "The same, without --email")
        .run([options, function](Context& context) { return function(context, *options); });
  };
  add("enrol", "Make a secret for someone's authenticator, as a URI and a QR code", enrol);
  add("confirm", "Switch it on with a code from standard input, and show recovery codes", confirm);
  add("codes", "Make new recovery codes", codes);
  add("remove", "Let someone log in without a second factor", remove);
  line.run([](Context&) -> int {
    throw Error(Code::Usage, "user mfa needs a subcommand", "try: aragora user mfa enrol ada@example.org");
  });
}

}  // namespace aragora::cli
