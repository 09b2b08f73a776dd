#include "common/backup/physical/source_configuration.h"

#include <set>
#include <sstream>

#include "common/backup/physical/private_cluster.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::string_view kAside = ".aragora-aside";
constexpr std::size_t kLimit = 4U << 20;
constexpr const char* kAutomatic = "postgresql.auto.conf";

// PostgreSQL documentation: "Archive Recovery", "Recovery Target", "Standby Servers".
const std::set<std::string>& recoverySettings() {
  static const std::set<std::string> names = {
      "restore_command",      "archive_cleanup_command",   "recovery_end_command",   "recovery_target",
      "recovery_target_time", "recovery_target_inclusive", "recovery_target_name",   "recovery_target_xid",
      "recovery_target_lsn",  "recovery_target_timeline",  "recovery_target_action", "recovery_min_apply_delay",
      "primary_conninfo",     "primary_slot_name",         "promote_trigger_file"};
  return names;
}

struct Setting {
  std::string name;  // empty: no setting stands in the line
  std::string value;
};

// «name = value», «name value», with a comment behind it or not.
Setting parse(std::string_view line) {
  const auto text = trim(line);
  const auto end = text.find_first_of(" \t=");
  if (text.empty() || text.front() == '#' || end == std::string_view::npos) return {};
  auto value = trim(text.substr(end));
  if (startsWith(value, "=")) value = trim(value.substr(1));
  if (!value.empty() && value.front() == '\'') {
    const auto close = value.rfind('\'');
    value = close > 0 ? value.substr(1, close - 1) : value.substr(1);
  } else {
    value = trim(value.substr(0, value.find('#')));
  }
  return {lower(std::string(text.substr(0, end))), std::string(value)};
}

// Those that lie in the data directory; Debian keeps all but the automatic one elsewhere.
std::vector<fs::path> files(const fs::path& data) {
  std::vector<fs::path> result{data / "postgresql.conf"};
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(data / "conf.d", ignored)) {
    if (item.path().extension() == ".conf") result.push_back(item.path());
  }
  result.push_back(data / kAutomatic);
  std::erase_if(result, [&](const fs::path& file) { return !fs::is_regular_file(file, ignored); });
  return result;
}

void withoutRecoverySettings(const fs::path& data, const fs::path& file, std::vector<std::string>& removed) {
  std::istringstream text(readFile(file, kLimit));
  std::string kept;
  const auto before = removed.size();
  for (std::string line; std::getline(text, line);) {
    const auto name = parse(line).name;
    if (recoverySettings().count(name) == 0)
      kept += line + "\n";
    else
      removed.push_back(fmt::format("{} in {}", name, fs::relative(file, data).string()));
  }
  if (removed.size() == before) return;
  writeFileAtomically(file, kept, 0600);
  giveToServerUser(file, false);
}
}  // namespace

void setConfigurationAside(const fs::path& data) {
  const auto aside = data / (kAutomatic + std::string(kAside));
  std::error_code ignored;
  if (fs::exists(data / kAutomatic, ignored) && !fs::exists(aside, ignored)) renameDurably(data / kAutomatic, aside);
}

std::vector<std::string> removeSignals(const fs::path& data) {
  std::vector<std::string> removed;
  std::error_code ignored;
  for (const auto* signal : {"standby.signal", "recovery.signal"}) {
    if (fs::remove(data / signal, ignored)) removed.emplace_back(signal);
  }
  return removed;
}

std::vector<std::string> putConfigurationBack(const fs::path& data) {
  std::vector<std::string> removed;
  std::error_code ignored;
  const auto aside = data / (kAutomatic + std::string(kAside));
  if (fs::exists(aside, ignored)) renameDurably(aside, data / kAutomatic);
  for (const auto& file : files(data)) withoutRecoverySettings(data, file, removed);
  fs::remove(data / "postmaster.opts", ignored);  // `pg_ctl restart` would take our options from it
  return removed;
}

std::string sourceSetting(const fs::path& data, const std::string& name) {
  auto where = files(data);
  std::error_code ignored;
  if (const auto aside = data / (kAutomatic + std::string(kAside)); fs::is_regular_file(aside, ignored))
    where.push_back(aside);
  std::string value;  // the last one counts
  for (const auto& file : where) {
    for (const auto& line : split(readFile(file, kLimit), '\n')) {
      if (auto setting = parse(line); setting.name == name) value = setting.value;
    }
  }
  return value;
}

}  // namespace aragora::backup
