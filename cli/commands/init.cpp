#include <unistd.h>

#include <cstdlib>

#include "cli/commands/commands.h"
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

std::string productionFile(const fs::path& credentials) {
  return fmt::format(
      "# Written by: aragora init --production. Every setting: man aragora.toml, or aragora config example\n"
      "environment = \"production\"\n\n"
      "[server]\n# The exact origins of your web pages, such as \"https://aragora.example.org\"\nallowed_origins = "
      "[]\nbehind_proxy = true\n\n"
      "[database]\n# postgresql://user:password@host:5432/name, in a file of mode 0600\nurl_file = "
      "\"{0}/DATABASE_URL\"\n\n"
      "[redis]\n# url_file = \"{0}/REDIS_URL\"   # needed unless cluster.single_instance is true\n\n"
      "[cluster]\nsingle_instance = true\n\n"
      "[auth]\njwt_secret_file = \"{0}/JWT_SECRET\"\napi_token_file = \"{0}/ARAGORA_API_TOKEN\"\n\n"
      "[encryption]\nkey_file = \"{0}/ARAGORA_ENCRYPTION_KEY\"\nrotated_at = {1}\n\n"
      "[providers]\n# anthropic_api_key_file = \"{0}/ANTHROPIC_API_KEY\"\n# openrouter_api_key_file = "
      "\"{0}/OPENROUTER_API_KEY\"\n",
      credentials.string(), toIso(nowMicros()).substr(0, 10));
}

// Never overwrites: what is there stays, and is said to.
void writeNew(const Output& out, json::array& written, json::array& present, const fs::path& path,
              std::string_view content, unsigned mode) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    out.marked(Mark::Info, fmt::format("{} exists, left as it is", path.string()));
    present.push_back(json::string(path.string()));
    return;
  }
  createFileExclusively(path, content, mode);
  out.marked(Mark::Ok, fmt::format("{} written (mode {:04o})", path.string(), mode));
  written.push_back(json::string(path.string()));
}

int init(Context& context, const Options& options) {
  const auto& out = context.out();
  const fs::path directory = options.directory ? fs::path(*options.directory) : defaultDirectory(options.production);
  json::array written;
  json::array present;
  makeDirectories(directory, 0755);
  const auto file = directory / "aragora.toml";
  if (options.production) {
    const auto credentials = fs::absolute(directory) / "credentials";
    makeDirectories(credentials, 0700);
    for (const auto* name : {"JWT_SECRET", "ARAGORA_ENCRYPTION_KEY", "ARAGORA_API_TOKEN"}) {
      writeNew(out, written, present, credentials / name, toHex(crypto::randomBytes(32)) + "\n", 0600);
    }
    writeNew(out, written, present, file, productionFile(credentials), 0640);
  } else {
    writeNew(out, written, present, file, config::renderExampleFile(), 0640);
    auto& config = context.loaded().config;
    for (const auto& path : deployment::ensureGeneratedSecrets(config)) {
      out.marked(Mark::Ok, fmt::format("{} generated (mode 0600)", path.string()));
      written.push_back(json::string(path.string()));
    }
    out.line(fmt::format("Data and secrets: {}", config.stateDirectory().string()));
  }
  out.document({{"written", written}, {"left_as_they_are", present}, {"config_file", file.string()}});
  out.line(options.production
               ? fmt::format("Next: put the database URL into {}/credentials/DATABASE_URL (mode 0600), set the origins "
                             "in {},\nkeep a copy of ARAGORA_ENCRYPTION_KEY elsewhere (backups "
                             "cannot be opened without it), then: aragora validate-env",
                             directory.string(), file.string())
               : "Next: aragora validate-env, then aragora serve");
  return 0;
}
}  // namespace

void declareInit(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.flag("--production", options->production, "Production settings, secrets as files below the configuration")
      .option("--directory", options->directory, "Where to write (default /etc/aragora, or ~/.config/aragora)");
  line.run([options](Context& context) { return init(context, *options); });
}

}  // namespace aragora::cli
