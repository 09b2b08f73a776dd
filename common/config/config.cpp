#include "common/config/config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/config/hidden.h"
#include "common/net/address.h"

namespace aragora::config {

namespace fs = std::filesystem;

namespace {
const Setting& setting(std::string_view key) {
  const auto* found = findSetting(key);
  ARAGORA_CHECK(found != nullptr);
  return *found;
}
}  // namespace

const std::vector<Candidate>& Config::candidates(std::string_view key) const {
  static const std::vector<Candidate> none;
  const auto found = values_.find(key);
  return found == values_.end() ? none : found->second;
}

bool loopbackHost(std::string_view host) {
  const bool bracketed = startsWith(host, "[") && endsWith(host, "]");
  return net::isThisMachine(bracketed ? host.substr(1, host.size() - 2) : host);
}

bool Config::isSet(std::string_view key) const { return !candidates(key).empty(); }

bool Config::resolved(std::string_view key) const {
  const auto& all = candidates(key);
  return all.empty() || all.front().resolved;
}

std::string Config::text(std::string_view key) const {
  ARAGORA_CHECK(!setting(key).secret);
  return secret(key).reveal();
}

Secret Config::secret(std::string_view key) const {
  const auto& all = candidates(key);
  return all.empty() ? Secret(std::string(setting(key).fallback)) : all.front().text;
}

std::int64_t Config::integer(std::string_view key) const {
  ARAGORA_CHECK(setting(key).type == Type::Integer);
  return parseInteger(text(key)).value_or(parseInteger(setting(key).fallback).value_or(0));
}

bool Config::flag(std::string_view key) const {
  ARAGORA_CHECK(setting(key).type == Type::Flag);
  const auto value = lower(text(key));
  return value == "true" || value == "1" || value == "yes" || value == "on";
}

std::vector<std::string> Config::list(std::string_view key) const { return split(secret(key).reveal(), ','); }

Origin Config::origin(std::string_view key) const {
  const auto& all = candidates(key);
  return all.empty() ? Origin{} : all.front().origin;
}

std::string Config::variable(std::string_view key) const {
  const auto written = origin(key).written;
  return written.empty() ? std::string(setting(key).environment.front()) : written;
}

std::string Config::sharedStateReason() const {
  if (flag(key::kRequireDistributed)) return variable(key::kRequireDistributed) + " is set";
  if (flag(key::kMultiInstance)) return variable(key::kMultiInstance) + " is set";
  if (integer(key::kInstanceCount) > 1) return variable(key::kInstanceCount) + " is more than 1";
  if (production() && !flag(key::kSingleInstance))
    return variable(key::kEnvironment) + "=production without ARAGORA_SINGLE_INSTANCE";
  return {};
}

bool Config::anonymousAllowed() const { return text(key::kEnvironment) == "development" && listensOnLoopbackOnly(); }

std::vector<net::ListenAddress> Config::addresses(std::string_view key) const {
  if (key == key::kListen && !isSet(key))
    return {{.host = text(key::kBindHost), .port = static_cast<std::uint16_t>(integer(key::kPort))}};
  std::vector<net::ListenAddress> all;
  for (const auto& part : list(key)) {
    if (auto address = net::ListenAddress::parse(part)) all.push_back(std::move(*address));
  }
  return all;
}

bool Config::listensOnLoopbackOnly() const {
  const auto all = addresses(key::kListen);
  return std::all_of(all.begin(), all.end(), [](const net::ListenAddress& one) { return one.loopback(); });
}

bool Config::sharedStateRequired() const { return !sharedStateReason().empty(); }

namespace {
constexpr const char* kUnitsState = "/var/lib/aragora";
}

fs::path Config::stateDirectory() const {
  const char* given = std::getenv("STATE_DIRECTORY");
  const bool of_unit = given != nullptr && *given != '\0';
  if (isSet(key::kStateDirectory) && !(stands_apart_ && of_unit)) return text(key::kStateDirectory);
  if (of_unit) return split(given, ':').front();  // systemd.exec(5): several are separated by colons
  // Also in a shell of the units' user: there it must not be another deployment than the units'.
  struct stat status {};
  if (::geteuid() == 0 || (::stat(kUnitsState, &status) == 0 && status.st_uid == ::geteuid())) return kUnitsState;
  if (const char* xdg = std::getenv("XDG_STATE_HOME"); xdg != nullptr && *xdg == '/') return fs::path(xdg) / "aragora";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') {
    throw Error(Code::Config, "no state directory: neither ARAGORA_STATE_DIR, STATE_DIRECTORY nor HOME is set",
                "set ARAGORA_STATE_DIR to a directory of the service's own");
  }
  return fs::path(home) / ".local/state/aragora";
}

fs::path Config::sqlitePath() const {
  return isSet(key::kSqlitePath) ? fs::path(text(key::kSqlitePath)) : stateDirectory() / "aragora.db";
}

fs::path Config::backupDirectory() const {
  return isSet(key::kBackupDirectory) ? fs::path(text(key::kBackupDirectory)) : stateDirectory() / "backups";
}

void Config::add(std::string_view key, Candidate candidate) {
  if (setting(key).secret) hideSecret(candidate.text.reveal(), Looks::OfSecret);
  values_[std::string(setting(key).key)].push_back(std::move(candidate));
}

}  // namespace aragora::config
