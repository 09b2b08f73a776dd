#include "common/config/handed_over.h"

#include <sys/stat.h>

#include <tuple>

#include "common/base/text.h"
#include "common/config/secret_file.h"
#include "common/config/unit.h"

namespace aragora::config {

namespace {
// nullopt: nobody can say. Who may not read the file sees its times; those of its inode also tell of one that was put
// in its place and is older.
std::optional<bool> changedSince(const std::string& copy, const std::string& source, const Secret& value) {
  if (const auto now = readSecretFile(source, true).text) return *now != value.reveal();
  struct stat of_copy {};
  struct stat of_source {};
  if (::stat(copy.c_str(), &of_copy) != 0 || ::stat(source.c_str(), &of_source) != 0) return std::nullopt;
  return std::tie(of_source.st_ctim.tv_sec, of_source.st_ctim.tv_nsec) >
         std::tie(of_copy.st_mtim.tv_sec, of_copy.st_mtim.tv_nsec);
}
}  // namespace

HandedOver lookAtHandedOver(const Config& config, const std::filesystem::path& sources) {
  HandedOver result;
  for (const auto& setting : catalogue()) {
    const std::filesystem::path copy = config.origin(setting.key).handed_over;
    if (copy.empty()) continue;
    const auto id = copy.filename().string();
    const bool ours = startsWith(id, kHandedOver);
    const auto source = ours ? (sources / id.substr(kHandedOver.size())).string() : std::string();
    const auto changed = ours ? changedSince(copy.string(), source, config.secret(setting.key)) : std::nullopt;
    if (!changed)
      result.unseen.emplace_back(setting.key);
    else if (*changed)
      result.outdated.push_back(fmt::format("{} ({} was changed after the start)", setting.key, source));
  }
  return result;
}

}  // namespace aragora::config
