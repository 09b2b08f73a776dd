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

namespace {
constexpr int kRenewalDays = 21;

std::string hostOf(const std::string& url) {
  const auto begin = url.find("://") == std::string::npos ? 0 : url.find("://") + 3;
  const auto authority = url.substr(begin, url.find('/', begin) - begin);
  if (startsWith(authority, "[")) return authority.substr(1, authority.find(']') - 1);
  return authority.substr(0, authority.find(':'));
}

void addValidity(const Context& context, const crypto::CertificateReport& report, std::vector<Finding>& findings) {
  const auto variable = context.config.variable(key::kTlsCertificate);
  const auto origin = context.config.origin(key::kTlsCertificate).text;
  const auto days = (report.not_after - nowMicros()) / 86'400'000'000LL;
  const auto day = [](Micros moment) { return toIso(moment).substr(0, 10); };
  if (report.not_after < nowMicros())
    findings.push_back(misconfigured(fmt::format("{}: the certificate expired on {}", variable, day(report.not_after)),
                                     origin, "renew it: certbot renew"));
  else if (report.not_before > nowMicros())
    findings.push_back(
        misconfigured(fmt::format("{}: the certificate is not valid before {}", variable, day(report.not_before)),
                      origin, "check the clock of this machine"));
  else if (days < kRenewalDays)
    findings.push_back(
        warning(fmt::format("Certificate: expires in {}", counted(days, "day")), origin, "renew it: certbot renew"));
}

// The public URL is where clients go. Pages of allowed origins may be another host's; mostly they are not.
void addNames(const Context& context, const crypto::CertificateReport& report, std::vector<Finding>& findings) {
  const auto& config = context.config;
  const auto named = report.names.empty() ? std::string("it names no host") : "it names " + join(report.names, ", ");
  const auto url = config.text(key::kPublicUrl);
  if (startsWith(url, "https://") && !config.flag(key::kBehindProxy) && !report.covers(hostOf(url)))
    findings.push_back(
        misconfigured(fmt::format("{}: the certificate is not one of {}: {}", config.variable(key::kTlsCertificate),
                                  hostOf(url), named),
                      config.origin(key::kTlsCertificate).text,
                      fmt::format("have that name written into it, or correct {}", config.variable(key::kPublicUrl))));
  std::vector<std::string> missing;
  for (const auto& origin : config.list(key::kAllowedOrigins)) {
    if (startsWith(origin, "https://") && !report.covers(hostOf(origin))) missing.push_back(hostOf(origin));
  }
  if (!missing.empty())
    findings.push_back(warning(fmt::format("Certificate: not one of {}, which {} names; {}", join(missing, ", "),
                                           config.variable(key::kAllowedOrigins), named),
                               config.origin(key::kTlsCertificate).text,
                               "when clients come to this daemon by that name, have it written into the certificate"));
}

void addKeyFile(const Context& context, const crypto::CertificateReport& report, std::vector<Finding>& findings) {
  const auto& config = context.config;
  if (!report.key_matches)
    findings.push_back(
        misconfigured(fmt::format("{}: the key does not belong to the certificate", config.variable(key::kTlsKey)),
                      config.origin(key::kTlsKey).text,
                      "name the key the certificate was made with; this host's certificate stands first in its file"));
  struct stat status {};
  if (::stat(config.text(key::kTlsKey).c_str(), &status) == 0 && (status.st_mode & 077) != 0 &&
      (status.st_mode & 077) != 040) {
    findings.push_back(misconfigured(
        fmt::format("{}: the private key has mode {:04o}", config.variable(key::kTlsKey), status.st_mode & 07777),
        config.origin(key::kTlsKey).text, fmt::format("chmod g-wx,o= {}", config.text(key::kTlsKey))));
  }
}

// Of the two settings that name files, the one whose file cannot be used. They are read in that order.
std::string_view fileAtFault(const config::Config& config) {
  try {
    crypto::certificateExpiry(config.text(key::kTlsCertificate));
    return key::kTlsKey;
  } catch (const Error&) {
    return key::kTlsCertificate;
  }
}
}  // namespace

std::vector<Finding> checkCertificate(const Context& context) {
  const auto& config = context.config;
  if (!config.speaksTls()) return {skipped("Certificate: none configured here")};
  const auto variable = config.variable(key::kTlsCertificate);
  const auto origin = config.origin(key::kTlsCertificate).text;
  crypto::CertificateReport report;
  try {
    report = crypto::inspectCertificate(config.text(key::kTlsCertificate), config.text(key::kTlsKey));
  } catch (const Error& error) {
    const auto file = fileAtFault(config);
    return {misconfigured(fmt::format("{}: {}", config.variable(file), error.what()), config.origin(file).text,
                          error.hint().empty() ? "name a PEM file" : error.hint())};
  }
  std::vector<Finding> findings;
  addKeyFile(context, report, findings);
  addValidity(context, report, findings);
  for (const auto& trouble : report.troubles)
    findings.push_back(trouble.fatal
                           ? misconfigured(fmt::format("{}: {}", variable, trouble.what), origin, trouble.hint)
                           : warning(fmt::format("Certificate: {}", trouble.what), origin, trouble.hint));
  addNames(context, report, findings);
  if (findings.empty())
    findings.push_back(ok(fmt::format("Certificate: {}, valid for {}", join(report.names, ", "),
                                      counted((report.not_after - nowMicros()) / 86'400'000'000LL, "day"))));
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
