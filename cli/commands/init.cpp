#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "cli/commands/commands.h"
#include "common/base/account.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/shell.h"
#include "common/base/text.h"
#include "common/config/addresses.h"
#include "common/config/render.h"
#include "common/deployment/deployment.h"
#include "common/deployment/platforms.h"

namespace aragora::cli {

namespace {
struct Options {
  bool production = false;
  bool overwrite = false;
  std::optional<std::string> target;
  std::optional<std::string> host;
  std::optional<std::string> directory;
};

// What the units of this machine read.
bool forService(const Options& options) {
  return options.target ? deployment::parsePlatform(*options.target) == deployment::Platform::Systemd
                        : options.production;
}

fs::path defaultDirectory(const Options& options) {
  if (options.target && !forService(options)) return fs::absolute("aragora");
  if (forService(options) || ::geteuid() == 0) return "/etc/aragora";
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

// Writes what is not there yet, says of each file what became of it, and remembers both.
class Writer {
 public:
  Writer(const Output& out, fs::path directory, bool overwrite, bool services)
      : out_(out), directory_(std::move(directory)), overwrite_(overwrite), services_(services) {
    makeDirectory(directory_, 0755);
  }

  void write(const deployment::PlannedFile& file) {
    const auto path = directory_ / file.path;
    if (isPrivate(file.path))
      makePrivate(path.parent_path());
    else if (path.parent_path() != directory_)
      makeDirectory(path.parent_path(), 0755);
    std::error_code ignored;
    const bool there = fs::exists(path, ignored);
    if (there && (file.secret || !overwrite_)) {
      out_.marked(Mark::Info, fmt::format("{} exists, left as it is", path.string()));
      present_.push_back(json::string(path.string()));
      return;
    }
    if (there)
      writeFileAtomically(path, file.content, file.mode);
    else
      createFileExclusively(path, file.content, file.mode);
    const bool shared = services_ && isShared(file) && shareWithService(path, 0640);
    out_.marked(Mark::Ok, shared ? fmt::format("{} written (root:{}, mode 0640)", path.string(), kServiceUser)
                                 : fmt::format("{} written (mode {:04o})", path.string(), file.mode));
    written_.push_back(json::string(path.string()));
  }
  // Before anything is written: a link is somebody's decision, and the file that it leads to is not the one of here.
  void refuseLinks(const std::vector<deployment::PlannedFile>& files) const {
    for (const auto& file : files) {
      const auto path = directory_ / file.path;
      std::error_code ignored;
      if (!overwrite_ || file.secret || !fs::is_symlink(path, ignored)) continue;
      throw Error(
          Code::CannotCreate,
          fmt::format("{} is a symbolic link and --overwrite would put a file in its place; nothing was written",
                      path.string()),
          fmt::format("rm {}; or leave --overwrite away, and it stays", shellWord(path.string())));
    }
  }
  void note(const fs::path& path) { written_.push_back(json::string(path.string())); }

  json::object document() const { return {{"written", written_}, {"left_as_they_are", present_}}; }

 private:
  static bool isPrivate(const std::string& path) {
    return startsWith(path, "credentials/") || startsWith(path, "secrets/");
  }
  // What the service reads: its file and its secrets.
  static bool isShared(const deployment::PlannedFile& file) {
    return isPrivate(file.path) || file.path == "aragora.toml";
  }
  // Only what is made here is given a mode: somebody else's directory keeps its own.
  void makeDirectory(const fs::path& directory, unsigned mode) {
    if (fileExists(directory)) return;
    makeDirectories(directory, mode);
    if (services_) shareWithService(directory, 0750);
  }

  // Of secrets. Whoever may enter where containers read them reads them all: they are files for everybody there.
  void makePrivate(const fs::path& directory) {
    struct stat status {};
    if (::lstat(directory.c_str(), &status) != 0) return makeDirectory(directory, 0700);
    const auto name = shellWord(directory.string());
    if (S_ISLNK(status.st_mode))
      throw Error(Code::CannotCreate, fmt::format("{} is a symbolic link: no secrets are written behind one", name),
                  fmt::format("rm {}, and again: it is made anew, for its owner alone", name));
    if (!S_ISDIR(status.st_mode)) throw Error(Code::CannotCreate, name + " exists and is not a directory");
    if (status.st_uid != ::geteuid() && status.st_uid != 0)
      throw Error(Code::Permission, fmt::format("{} belongs to somebody else, who would read the secrets", name),
                  fmt::format("chown {} {}, and again", ::geteuid(), name));
    if ((status.st_mode & (services_ ? 0022U : 0077U)) == 0) return;
    std::error_code ignored;
    if (status.st_uid == ::geteuid() && fs::is_empty(directory, ignored) && ::chmod(directory.c_str(), 0700) == 0) {
      if (services_) shareWithService(directory, 0750);
      return;
    }
    throw Error(Code::Permission,
                fmt::format("{} has mode {:04o}: others than its owner come to the secrets in it; nothing was written",
                            name, status.st_mode & 07777U),
                fmt::format("chmod {} {}, and again", services_ ? "0750" : "0700", name));
  }

  const Output& out_;
  fs::path directory_;
  bool overwrite_;
  bool services_;
  json::array written_;
  json::array present_;
};

std::string nextStep(const fs::path& directory, const fs::path& file) {
  const bool root = ::geteuid() == 0;
  const auto url = shellWord((directory / "credentials/DATABASE_URL").string());
  if (root && !findAccount(kServiceUser))
    return fmt::format("There is no user {} for the service yet: systemd-sysusers, then chgrp -R {} {}", kServiceUser,
                       kServiceUser, shellWord(directory.string()));
  return fmt::format(
      "Next: put the database URL into a file that {} reads:\n  install -m 0640 -o root -g {} /dev/stdin {}\nset the "
      "origins in {}, keep a copy of ARAGORA_ENCRYPTION_KEY elsewhere (backups cannot be opened without it), then: "
      "aragora validate-env{}",
      root ? "the service" : "you", root ? kServiceUser : "$(id -gn)", url, file.string(),
      root ? " --unit aragora" : "");
}

std::string nextSteps(const deployment::Plan& plan, const Options& options) {
  auto text =
      fmt::format("Next, and keep a copy of the encryption key elsewhere (backups cannot be opened without it):");
  for (std::size_t i = 0; i < plan.next.size(); ++i) text += fmt::format("\n  {}. {}", i + 1, plan.next[i]);
  if (!plan.proxy.empty()) text += fmt::format("\nThen, for https://{}, with nginx and certbot here:", *options.host);
  for (const auto& command : plan.proxy) text += "\n  " + command;
  if (!options.host) text += "\nNobody said by which host clients come: --host, or write it into the files yourself";
  return text;
}

std::string requireHost(const Options& options) {
  if (!options.host) return "";
  const auto origin = "https://" + *options.host;
  if (config::canonicalOrigin(origin) == origin && options.host->find(':') == std::string::npos) return *options.host;
  throw Error(Code::Usage,
              fmt::format("--host {} is not the name of a host in lower case", printable(*options.host, 80)),
              "write it like aragora.example.org");
}

// The name is printed in commands, and written into files that other programs read.
void requireUsable(const fs::path& directory, const Options& options) {
  const auto name = fs::absolute(directory).string();
  if (!validUtf8(name) || printable(name, name.size() + 1) != name)
    throw Error(Code::Usage, fmt::format("the directory {} has control characters in its name", printable(name, 200)),
                "name another one with --directory");
  if (!options.target) return;
  const auto odd = name.find_first_of(deployment::unusableIn(deployment::parsePlatform(*options.target)));
  if (odd != std::string::npos)
    throw Error(Code::Usage,
                fmt::format("the directory {} has a «{}» in its name, which the programs of {} do not take", name,
                            name[odd], *options.target),
                "name another one with --directory");
}

int init(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto host = requireHost(options);
  const fs::path directory = options.directory ? fs::path(*options.directory) : defaultDirectory(options);
  requireUsable(directory, options);
  Writer writer(out, directory, options.overwrite, forService(options));
  const auto file = directory / "aragora.toml";
  deployment::Plan plan;
  if (options.production || options.target) {
    const deployment::Site site{fs::absolute(directory), host, stateDirectory(context),
                                toIso(nowMicros()).substr(0, 10)};
    plan = options.target ? deployment::planFor(
                                deployment::parsePlatform(*options.target), site,
                                [&](const std::string& path) { return readFileIfExists(directory / path, 1 << 16); })
                          : deployment::productionPlan(site);
    writer.refuseLinks(plan.files);
    for (const auto& planned : plan.files) writer.write(planned);
  } else {
    const deployment::PlannedFile example{"aragora.toml", config::renderExampleFile(), 0640};
    writer.refuseLinks({example});
    writer.write(example);
    auto& config = context.loaded().config;
    for (const auto& path : deployment::ensureGeneratedSecrets(config)) {
      out.marked(Mark::Ok, fmt::format("{} generated (mode 0600)", path.string()));
      writer.note(path);
    }
    out.line(fmt::format("Data and secrets: {}", config.stateDirectory().string()));
  }
  auto document = writer.document();
  if (!options.target || forService(options)) document["config_file"] = file.string();
  if (options.target) {
    document["next"] = json::array(plan.next.begin(), plan.next.end());
    document["proxy"] = json::array(plan.proxy.begin(), plan.proxy.end());
  }
  out.document(std::move(document));
  out.line(options.target       ? nextSteps(plan, options)
           : options.production ? nextStep(directory, file)
                                : "Next: aragora validate-env, then aragora serve");
  return 0;
}
}  // namespace

void declareInit(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.flag("--production", options->production, "Production settings, secrets as files below the configuration")
      .option("--target", options->target, "Where it is to run: its files for this machine, with generated secrets",
              oneOf(deployment::platformNames()))
      .option("--host", options->host, "The host by which clients come, such as aragora.example.org")
      .option("--directory", options->directory,
              "Where to write (default /etc/aragora or ~/.config/aragora; ./aragora for containers)", directory())
      .flag("--overwrite", options->overwrite, "Write files anew that exist; secrets never");
  line.run([options](Context& context) { return init(context, *options); });
}

}  // namespace aragora::cli
