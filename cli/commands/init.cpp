#include <unistd.h>

#include <cstdlib>

#include "cli/commands/commands.h"
#include "common/base/account.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/config/render.h"
#include "common/crypto/hash.h"
#include "common/deployment/deployment.h"

namespace aragora::cli {

namespace {
struct Options {
  bool production = false;
  std::optional<std::string> directory;
};

fs::path defaultDirectory(bool production) {
  if (production || ::geteuid() == 0) return "/etc/aragora";
  const char* xdg = std::getenv("XDG_CONFIG_HOME");
  if (xdg != nullptr && *xdg == '/') return fs::path(xdg) / "aragora";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/')
    throw Error(Code::Config, "HOME is not set", "name a directory with --directory");
  return fs::path(home) / ".config/aragora";
}

// The units' own; said in the file, so that a command by hand finds the same data as the service.
std::string stateDirectory(Context& context) {
  return ::geteuid() == 0 ? "/var/lib/aragora" : context.loaded().config.stateDirectory().string();
}

std::string productionFile(const fs::path& credentials, const std::string& state) {
  return fmt::format(
      "# Written by: aragora init --production. Every setting: man aragora.toml, or aragora config example\n"
      "environment = \"production\"\n\n"
      "[server]\n# The exact origins of your web pages, such as \"https://aragora.example.org\"\nallowed_origins = "
      "[]\nbehind_proxy = true\nstate_directory = \"{2}\"\n\n"
      "[database]\n# postgresql://user:password@host:5432/name, in a file that the service may read\nurl_file = "
      "\"{0}/DATABASE_URL\"\n\n"
      "[redis]\n# url_file = \"{0}/REDIS_URL\"   # needed unless cluster.single_instance is true\n\n"
      "[cluster]\nsingle_instance = true\n\n"
      "[auth]\njwt_secret_file = \"{0}/JWT_SECRET\"\napi_token_file = \"{0}/ARAGORA_API_TOKEN\"\n\n"
      "[encryption]\nkey_file = \"{0}/ARAGORA_ENCRYPTION_KEY\"\nrotated_at = {1}\n\n"
      "[providers]\n# anthropic_api_key_file = \"{0}/ANTHROPIC_API_KEY\"\n# openrouter_api_key_file = "
      "\"{0}/OPENROUTER_API_KEY\"\n",
      credentials.string(), toIso(nowMicros()).substr(0, 10), state);
}

// Never overwrites: what is there stays, and is said to.
void writeNew(const Output& out, json::array& written, json::array& present, const fs::path& path,
              std::string_view content, unsigned mode, bool services) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    out.marked(Mark::Info, fmt::format("{} exists, left as it is", path.string()));
    present.push_back(json::string(path.string()));
    return;
  }
  createFileExclusively(path, content, mode);
  const bool shared = services && shareWithService(path, 0640);
  out.marked(Mark::Ok, shared ? fmt::format("{} written (root:{}, mode 0640)", path.string(), kServiceUser)
                              : fmt::format("{} written (mode {:04o})", path.string(), mode));
  written.push_back(json::string(path.string()));
}

// Only what is made here is given a mode: somebody else's directory keeps its own.
void makeDirectory(const fs::path& directory, unsigned mode, bool services) {
  if (fileExists(directory)) return;
  makeDirectories(directory, mode);
  if (services) shareWithService(directory, 0750);
}

std::string nextStep(const fs::path& directory, const fs::path& file) {
  const bool root = ::geteuid() == 0;
  const auto url = fmt::format("{}/credentials/DATABASE_URL", directory.string());
  if (root && !findAccount(kServiceUser))
    return fmt::format("There is no user {} for the service yet: systemd-sysusers, then chgrp -R {} {}", kServiceUser,
                       kServiceUser, directory.string());
  return fmt::format(
      "Next: put the database URL into a file that {} reads:\n  install -m 0640 -o root -g {} /dev/stdin {}\nset the "
      "origins in {}, keep a copy of ARAGORA_ENCRYPTION_KEY elsewhere (backups cannot be opened without it), then: "
      "aragora validate-env{}",
      root ? "the service" : "you", root ? kServiceUser : "$(id -gn)", url, file.string(),
      root ? " --unit aragora" : "");
}

int init(Context& context, const Options& options) {
  const auto& out = context.out();
  const fs::path directory = options.directory ? fs::path(*options.directory) : defaultDirectory(options.production);
  json::array written;
  json::array present;
  makeDirectory(directory, 0755, options.production);
  const auto file = directory / "aragora.toml";
  if (options.production) {
    const auto credentials = fs::absolute(directory) / "credentials";
    makeDirectory(credentials, 0700, true);
    for (const auto* name : {"JWT_SECRET", "ARAGORA_ENCRYPTION_KEY", "ARAGORA_API_TOKEN"}) {
      writeNew(out, written, present, credentials / name, toHex(crypto::randomBytes(32)) + "\n", 0600, true);
    }
    writeNew(out, written, present, file, productionFile(credentials, stateDirectory(context)), 0640, true);
  } else {
    writeNew(out, written, present, file, config::renderExampleFile(), 0640, false);
    auto& config = context.loaded().config;
    for (const auto& path : deployment::ensureGeneratedSecrets(config)) {
      out.marked(Mark::Ok, fmt::format("{} generated (mode 0600)", path.string()));
      written.push_back(json::string(path.string()));
    }
    out.line(fmt::format("Data and secrets: {}", config.stateDirectory().string()));
  }
  out.document({{"written", written}, {"left_as_they_are", present}, {"config_file", file.string()}});
  out.line(options.production ? nextStep(directory, file) : "Next: aragora validate-env, then aragora serve");
  return 0;
}
}  // namespace

void declareInit(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.flag("--production", options->production, "Production settings, secrets as files below the configuration")
      .option("--directory", options->directory, "Where to write (default /etc/aragora, or ~/.config/aragora)",
              directory());
  line.run([options](Context& context) { return init(context, *options); });
}

}  // namespace aragora::cli
