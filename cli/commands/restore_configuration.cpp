#include "cli/commands/restore_configuration.h"

#include <unistd.h>

#include "common/backup/configuration.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
bool isFile(const std::optional<std::string>& input) {
  std::error_code ignored;
  // Where there are no links it is a file, too.
  return input && fs::path(*input).filename() != "latest-configuration" && fs::is_regular_file(*input, ignored);
}

backup::SavedConfiguration read(Context& context, const RestoreConfigurationOptions& options) {
  if (isFile(options.input)) return backup::readDecrypted(*options.input);
  const auto place = context.backups(std::nullopt, options.from);
  const auto identities =
      options.identity ? crypto::parseAgeIdentities(Secret(readFile(*options.identity, 1U << 16)), *options.identity)
                       : context.keyring().backupIdentities();
  return backup::readConfiguration(place, options.input, identities);
}

fs::path destination(const RestoreConfigurationOptions& options) {
  if (options.to) return fs::absolute(*options.to);
  if (::geteuid() == 0) return "/etc/aragora";
  throw Error(Code::Usage, "restore --configuration needs --to DIRECTORY", "as root it is /etc/aragora");
}
}  // namespace

int restoreConfiguration(Context& context, const RestoreConfigurationOptions& options) {
  const auto& out = context.out();
  const auto directory = destination(options);
  const auto saved = read(context, options);
  const auto report =
      backup::writeConfiguration(saved, directory, options.dry_run ? backup::Writing::DryRun : backup::Writing::Now);
  json::array written;
  for (const auto& path : report.written) {
    written.push_back(json::string(path));
    if (options.dry_run)
      out.marked(Mark::Info, "would write " + path);
    else
      out.marked(Mark::Ok, path + " written");
  }
  json::array missing;
  for (const auto& line : report.missing) {
    missing.push_back(json::string(line));
    out.marked(Mark::Warning, "not saved: " + line);
  }
  out.line(saved.authentic ? fmt::format("  from {}; its signature holds under the key that is inside", saved.source)
                           : fmt::format("  from {}; nothing vouches for a file that was decrypted", saved.source));
  if (!saved.server.files.empty() && !options.dry_run)
    out.line(fmt::format("  compare the files of PostgreSQL {} below {}/postgresql with the new machine's",
                         saved.server.version, directory.string()));
  out.document({{"from", saved.source},
                {"directory", directory.string()},
                {"dry_run", options.dry_run},
                {"authentic", saved.authentic},
                {"written", written},
                {"missing", missing},
                {"postgresql_version", saved.server.version}});
  return 0;
}

}  // namespace aragora::cli
