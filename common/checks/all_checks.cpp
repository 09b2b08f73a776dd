// The table of checks, in the order in which they are shown. The first five with in_summary and the closing line are
// the checklist's own view.
#include "common/checks/settings_checks.h"

namespace aragora::checks {

const std::vector<Check>& allChecks() {
  static const std::vector<Check> checks = {
      {.id = "environment", .title = "Environment", .at_startup = true, .in_summary = true, .look = checkEnvironment},
      {.id = "configuration", .title = "Configuration", .at_startup = true, .look = checkConfiguration},
      {.id = "encryption", .title = "Encryption key", .at_startup = true, .in_summary = true, .look = checkEncryption},
      {.id = "redis",
       .title = "Redis",
       .needs_network = true,
       .at_startup = true,
       .in_summary = true,
       .look = checkRedis},
      {.id = "postgresql",
       .title = "PostgreSQL",
       .needs_network = true,
       .at_startup = true,
       .in_summary = true,
       .look = checkPostgres},
      {.id = "ai_providers", .title = "AI provider", .at_startup = true, .in_summary = true, .look = checkProviders},
      {.id = "distributed_state", .title = "Shared state", .look = checkDistributedState},
      {.id = "jwt_secret", .title = "JWT secret", .at_startup = true, .look = checkJwtSecret},
      {.id = "migrations", .title = "Migrations", .needs_network = true, .at_startup = true, .look = checkMigrations},
      {.id = "key_check",
       .title = "Key check",
       .needs_network = true,
       .at_startup = true,
       .look = checkKeyMatchesDatabase},
      {.id = "pool_size", .title = "Connection pool", .needs_network = true, .look = checkPoolSize},
      {.id = "clock", .title = "Clock", .needs_network = true, .look = checkClock},
      {.id = "allowed_origins", .title = "Allowed origins", .at_startup = true, .look = checkOrigins},
      {.id = "https", .title = "HTTPS", .at_startup = true, .look = checkHttps},
      {.id = "certificate", .title = "Certificate", .at_startup = true, .look = checkCertificate},
      {.id = "rate_limit", .title = "Rate limit", .look = checkRateLimit},
      {.id = "secret_reuse", .title = "Secrets", .at_startup = true, .look = checkSecretReuse},
      {.id = "secret_sources", .title = "Secret sources", .look = checkSecretSources},
      {.id = "secret_files", .title = "Secret files", .at_startup = true, .look = checkSecretFiles},
      {.id = "service_user", .title = "Service user", .look = checkServiceUser},
      {.id = "key_rotation", .title = "Key rotation", .at_startup = true, .look = checkKeyRotation},
      {.id = "unknown_variables", .title = "Variables", .look = checkUnknownVariables},
      {.id = "cpu", .title = "CPU", .look = checkCores},
      {.id = "memory", .title = "Memory", .look = checkMemory},
      {.id = "disk", .title = "Disk", .look = checkDisk},
      {.id = "open_files", .title = "Open files", .look = checkOpenFiles},
      {.id = "backup_directory", .title = "Backup directory", .look = checkBackupDirectory},
      {.id = "backup_age", .title = "Backup age", .look = checkBackupAge},
      {.id = "backup_proof", .title = "Backup proof", .look = checkBackupProof},
      {.id = "backup_keys", .title = "Backup keys", .look = checkBackupKeys},
      {.id = "backup_space", .title = "Backup space", .look = checkBackupSpace},
      {.id = "recovery_keys", .title = "Recovery key", .look = checkRecoveryKeys},
      {.id = "backup_offsite", .title = "Copy elsewhere", .needs_network = true, .look = checkOffsite},
      {.id = "recovery_window", .title = "Recovery window", .look = checkRecoveryWindow},
      {.id = "recovery_loss", .title = "Recovery loss", .look = checkRecoveryLoss},
      {.id = "recovery_time", .title = "Recovery time", .look = checkRecoveryTime},
      {.id = "slot_guard", .title = "Slot guard", .needs_network = true, .look = checkSlotGuard},
      {.id = "last_commits", .title = "Last commits", .needs_network = true, .look = checkLastCommits},
      {.id = "recovery_drill", .title = "Recovery drill", .look = checkDrills},
  };
  return checks;
}

}  // namespace aragora::checks
