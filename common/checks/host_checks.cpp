// Checks of the machine: files, resources, backups.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "common/base/account.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/checks/settings_checks.h"
#include "common/config/secret_file.h"
#include "common/crypto/certificate.h"
#include "common/deployment/deployment.h"

namespace aragora::checks {

namespace key = config::key;

namespace {
// The minimum-requirements table, less 5 %: machines are sold in round numbers and report less.
struct Minimum {
  double development;
  double production;
};
constexpr Minimum kCores{2, 4};
constexpr Minimum kMemoryGb{4, 8};
constexpr Minimum kDiskGb{10, 50};
constexpr double kSlack = 0.95;

Finding resource(const Context& context, std::string_view name, std::string_view unit, double have,
                 const Minimum& minimum, std::string hint) {
  const double needed = context.config.production() ? minimum.production : minimum.development;
  const auto text = fmt::format("{}: {:.1f}{}", name, have, unit);
  if (have >= needed * kSlack) return ok(text);
  return warning(
      fmt::format("{}, {:.0f}{} is the minimum for {}", text, needed, unit, context.config.text(key::kEnvironment)),
      "this machine", std::move(hint));
}

// The nearest directory that exists: what does not exist yet will be made below it.
fs::path existing(fs::path path) {
  std::error_code ignored;
  while (!path.empty() && path != path.root_path() && !fs::exists(path, ignored)) path = path.parent_path();
  return path;
}
}  // namespace

std::vector<Finding> checkCertificate(const Context& context) {
  const auto& config = context.config;
  if (!config.isSet(key::kTlsCertificate) || !config.isSet(key::kTlsKey))
    return {skipped("Certificate: none configured here")};
  const auto origin = config.origin(key::kTlsCertificate).text;
  crypto::CertificateReport report;
  try {
    report = crypto::inspectCertificate(config.text(key::kTlsCertificate), config.text(key::kTlsKey));
  } catch (const Error& error) {
    return {misconfigured(fmt::format("{}: {}", config.variable(key::kTlsCertificate), error.what()), origin,
                          error.hint().empty() ? "name a PEM file" : error.hint())};
  }
  std::vector<Finding> findings;
  const auto days = (report.not_after - nowMicros()) / 86'400'000'000LL;
  if (!report.key_matches)
    findings.push_back(
        misconfigured(fmt::format("{}: the key does not belong to the certificate", config.variable(key::kTlsKey)),
                      config.origin(key::kTlsKey).text, "name the key the certificate was made with"));
  if (report.not_after < nowMicros())
    findings.push_back(
        misconfigured(fmt::format("{}: the certificate expired on {}", config.variable(key::kTlsCertificate),
                                  toIso(report.not_after).substr(0, 10)),
                      origin, "renew it: certbot renew"));
  else if (report.not_before > nowMicros())
    findings.push_back(
        misconfigured(fmt::format("{}: the certificate is not valid before {}", config.variable(key::kTlsCertificate),
                                  toIso(report.not_before).substr(0, 10)),
                      origin, "check the clock of this machine"));
  else if (days < 30)
    findings.push_back(
        warning(fmt::format("Certificate: expires in {}", counted(days, "day")), origin, "renew it: certbot renew"));
  struct stat status {};
  if (::stat(config.text(key::kTlsKey).c_str(), &status) == 0 && (status.st_mode & 077) != 0 &&
      (status.st_mode & 077) != 040) {
    findings.push_back(misconfigured(
        fmt::format("{}: the private key has mode {:04o}", config.variable(key::kTlsKey), status.st_mode & 07777),
        config.origin(key::kTlsKey).text, fmt::format("chmod g-wx,o= {}", config.text(key::kTlsKey))));
  }
  if (findings.empty()) findings.push_back(ok(fmt::format("Certificate: valid for {}", counted(days, "day"))));
  return findings;
}

std::vector<Finding> checkSecretFiles(const Context& context) {
  std::set<std::string> files;
  for (const auto& setting : config::catalogue()) {
    if (!setting.secret) continue;
    const auto origin = context.config.origin(setting.key);
    const auto colon = origin.text.rfind(':');
    if (startsWith(origin.text, "/") && colon != std::string::npos)
      files.insert(origin.text.substr(0, colon));  // aragora.toml:12, /etc/default/aragora:3
    if (origin.source == config::Source::Generated) files.insert(origin.text);
  }
  // Root looks at a deployment of whoever owns its state, whatever that user is called.
  struct stat state {};
  const bool foreign = ::geteuid() == 0 && ::stat(context.config.stateDirectory().c_str(), &state) == 0;
  std::vector<Finding> findings;
  for (const auto& file : files) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) continue;
    if ((status.st_mode & 07) != 0)
      findings.push_back(misconfigured(
          fmt::format("{} holds secrets and has mode {:04o}: every user can read it", file, status.st_mode & 07777),
          file, lineForSecretFile(file, status.st_uid)));
    else if (!config::mayOwnSecrets(status.st_uid) && !(foreign && status.st_uid == state.st_uid))
      findings.push_back(misconfigured(fmt::format("{} holds secrets and belongs to user {}", file, status.st_uid),
                                       file, lineForSecretFile(file, std::nullopt)));
  }
  if (findings.empty()) findings.push_back(ok(fmt::format("Secret files: {} looked at, private", files.size())));
  return findings;
}

std::vector<Finding> checkCores(const Context& context) {
  return {resource(context, "CPU", " cores", static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)), kCores,
                   "use a larger machine")};
}

std::vector<Finding> checkMemory(const Context& context) {
  struct sysinfo memory {};
  ::sysinfo(&memory);
  return {resource(context, "Memory", " GB", static_cast<double>(memory.totalram) * memory.mem_unit / 1e9, kMemoryGb,
                   "use a larger machine")};
}

std::vector<Finding> checkDisk(const Context& context) {
  const auto directory =
      existing(context.config.usesPostgres() ? context.config.backupDirectory() : context.config.stateDirectory());
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) != 0)
    return {warning(fmt::format("Disk: {} cannot be looked at: {}", directory.string(), systemError(errno)),
                    directory.string(), "check the path")};
  const double free_gb = static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize) / 1e9;
  return {resource(context, fmt::format("Disk ({})", directory.string()), " GB free", free_gb, kDiskGb,
                   "free space, or move the directory")};
}

std::vector<Finding> checkOpenFiles(const Context& context) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const auto needed = static_cast<rlim_t>(context.config.integer(key::kMaxConnections)) + 256;
  if (limit.rlim_max < needed) {
    return {warning(fmt::format("Open files: the limit is {}, {} need {}", limit.rlim_max,
                                counted(context.config.integer(key::kMaxConnections), "connection"), needed),
                    "RLIMIT_NOFILE", fmt::format("set LimitNOFILE={} in the unit", needed))};
  }
  return {ok(fmt::format("Open files: limit {}", limit.rlim_max))};
}

}  // namespace aragora::checks
