#include "cli/audit_trail.h"

#include <unistd.h>

#include <cstdlib>

#include "common/audit/audit.h"
#include "common/base/account.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/deployment/deployment.h"
#include "common/migrate/migrator.h"

namespace aragora::cli {

namespace {
constexpr auto kConnect = std::chrono::seconds(3);
constexpr int kAuditVersion = 2;  // the migration that brings the log

bool hasLog(const database::Target& target) {
  if (target.engine == database::Engine::Sqlite && !fileExists(target.path)) return false;
  return migrate::Migrator(target).status().version() >= kAuditVersion;
}
}  // namespace

std::string operatorName() {
  const auto uid = ::getuid();
  const auto account = findAccount(uid);
  const char* behind = std::getenv("SUDO_USER");
  return fmt::format("cli:{} uid {}{}", account ? account->name : "unnamed", uid,
                     behind != nullptr ? " sudo " + printable(behind, 80) : "");
}

void record(Context& context, const std::string& action, const std::string& object, json::object details,
            const std::string& result) {
  const auto& config = context.config();  // what is wrong with it is the command's own failure
  try {
    const auto keyring = deployment::keyring(config);
    if (!keyring) return;
    auto target = context.target();
    target.connect_timeout = std::min<std::chrono::milliseconds>(target.connect_timeout, kConnect);
    if (!hasLog(target)) return;
    const auto connection = database::connect(target);
    database::Transaction transaction(*connection,
                                      target.engine == database::Engine::Sqlite ? "BEGIN IMMEDIATE" : "BEGIN");
    audit::append(*connection, *keyring, {operatorName(), action, object, result, {}, {}, std::move(details)});
    transaction.commit();
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    const bool reads_only = error.code() == Code::Permission || database::postgres::isReadOnly(error);
    log::write(reads_only ? log::Level::Debug : log::Level::Warning,
               fmt::format("{} is not in the audit log: {}", action, error.what()));
  }
}

}  // namespace aragora::cli
